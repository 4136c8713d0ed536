"""One pass over all betas against scipy.special.logsumexp, one beta at a time, on the same rollouts in the same run.

Prints seconds (best of three) and their ratio; scipy computes log Z alone, tiltz log Z, ess and largest share, and in
the second line mean reward and both KL divergences too.
"""

import time

import numpy as np
from scipy.special import logsumexp

import tiltz

N_PROMPTS, N_SAMPLES = 10_000, 64
BETAS = np.geomspace(0.01, 10, 16)


def seconds(work):
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def main():
    rewards = np.random.default_rng(0).normal(size=(N_PROMPTS, N_SAMPLES))
    table = tiltz.Outcomes.sampled(rewards)
    peer = seconds(lambda: [logsumexp(rewards / beta, axis=1) - np.log(N_SAMPLES) for beta in BETAS])
    ours = seconds(lambda: tiltz.estimate(table, BETAS))
    moments = seconds(lambda: tiltz.sweep(table, BETAS, interval=None))
    cells = rewards.size * len(BETAS)
    print(f"{N_PROMPTS:,} prompts x {N_SAMPLES} samples x {len(BETAS)} betas")
    print(f"scipy logsumexp      {peer:6.2f} s  {peer / cells * 1e9:5.1f} ns per sample and beta")
    print(f"tiltz.estimate       {ours:6.2f} s  {ours / cells * 1e9:5.1f} ns  ratio {ours / peer:.2f}")
    print(
        f"tiltz.sweep, moments {moments:6.2f} s  {moments / cells * 1e9:5.1f} ns  ratio {moments / peer:.2f}"
    )


if __name__ == "__main__":
    main()
