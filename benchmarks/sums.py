"""A sum over 100,000,000 outcomes, against scipy's logsumexp over an array of all of them.

Prints seconds and the most memory that the process held. ``tiltz.sum_over`` takes the outcomes in blocks and gives
log Z, mean reward and both divergences; the peer holds every reward and gives log Z alone, at the same betas.
"""

import resource
import time

import numpy as np
from scipy.special import logsumexp

import tiltz

N_OUTCOMES = 100_000_000
BETAS = [0.5, 2.0]


def reward(block):
    return np.bitwise_count(block) * 0.25 - (block % 7) * 0.125


def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    print(f"{N_OUTCOMES:,} outcomes, {len(BETAS)} betas; {megabytes():,.0f} MB before")
    begin = time.perf_counter()
    known = tiltz.sum_over(range(N_OUTCOMES), reward, BETAS)
    ours = time.perf_counter() - begin
    print(f"tiltz sum_over   {ours:7.1f} s   at most {megabytes():,.0f} MB so far")
    begin = time.perf_counter()
    rewards = reward(np.arange(N_OUTCOMES))
    peer = [logsumexp(rewards / beta) - np.log(N_OUTCOMES) for beta in BETAS]
    took = time.perf_counter() - begin
    print(f"scipy logsumexp  {took:7.1f} s   at most {megabytes():,.0f} MB; {took / ours:.1f} times as long")
    print("log Z", known.log_z[0], "differs by", np.abs(known.log_z[0] - peer))


if __name__ == "__main__":
    main()
