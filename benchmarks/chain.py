"""A chain of 64 states and 100,000 steps at 32 betas, with a reward per step and state, against loops in NumPy.

Prints seconds. ``tiltz.known.chain`` gives log Z, mean reward, both divergences and a bound on the error. The loops go
over betas and steps and give log Z, mean reward and KL: one works with logs of the transition matrix, as a
log-sum-exp does; the other with scaled vectors, one product with the matrix for each quantity. Both run for a part of
the steps and are scaled up, since their time is proportional to it.
"""

import time

import numpy as np

from tiltz.known.chains import Markov, chain

N_STATES, LENGTH = 64, 100_000
BETAS = np.geomspace(0.1, 10, 32)
PART = 500


def log_sum_exp_loop(initial, transition, reward, betas):
    log_p, found = np.log(transition), []
    for beta in betas:
        v, mean = np.zeros(len(initial)), np.zeros(len(initial))
        for r in reward[:0:-1]:
            x = log_p + (r / beta + v)
            top = x.max(axis=1)
            w = np.exp(x - top[:, None])
            total = w.sum(axis=1)
            mean = (w @ (r + mean)) / total
            v = top + np.log(total)
        found.append(finish(initial, reward[0], v, mean, beta))
    return np.array(found)


def scaled_loop(initial, transition, reward, betas):
    found = []
    for beta in betas:
        h, mean, log_scale = np.ones(len(initial)), np.zeros(len(initial)), 0.0
        for r in reward[:0:-1]:
            y = np.exp((r - r.max()) / beta) * h
            total = transition @ y
            mean = (transition @ (y * (r + mean))) / total
            scale = total.max()
            h = total / scale
            log_scale += np.log(scale) + r.max() / beta
        found.append(finish(initial, reward[0], log_scale + np.log(h), mean, beta))
    return np.array(found)


def finish(initial, r, v, mean, beta):
    w = initial * np.exp(r / beta + v - v.max())
    log_z = np.log(w.sum()) + v.max()
    total = w @ (r + mean) / w.sum()
    return log_z, total, total / beta - log_z


def seconds(work):
    begin = time.perf_counter()
    answer = work()
    return time.perf_counter() - begin, answer


def compare(initial, transition, reward):
    ours, known = seconds(lambda: chain(Markov(initial, transition, length=len(reward)), reward, BETAS))
    print(f"tiltz chain            {ours:8.2f} s")
    short = chain(Markov(initial, transition, length=PART), reward[:PART], BETAS)
    for name, loop in (("log-sum-exp loop", log_sum_exp_loop), ("scaled loop", scaled_loop)):
        part, answer = seconds(lambda loop=loop: loop(initial, transition, reward[:PART], BETAS))
        assert np.allclose(answer.T, [short.log_z[0], short.mean_reward[0], short.kl[0]], rtol=1e-9)
        took = part * len(reward) / PART
        print(f"{name:<22} {took:8.2f} s   {took / ours:5.1f} times as long")
    return known


def main():
    rng = np.random.default_rng(0)
    transition = rng.dirichlet(np.ones(N_STATES), N_STATES)
    reward = rng.normal(size=(LENGTH, N_STATES))
    print(f"{N_STATES} states, {LENGTH:,} steps, {len(BETAS)} betas, a reward per step and state")
    compare(transition[0], transition, reward)
    constant = Markov(transition[0], transition, length=LENGTH)
    took, _ = seconds(lambda: chain(constant, reward[0], BETAS))
    print(f"constant reward        {took:8.2f} s   by repeated squaring")
    two = Markov([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], length=LENGTH)
    took, _ = seconds(lambda: chain(two, [0.0, 1.0], BETAS))
    print(f"2 states, constant     {took:8.2f} s   by repeated squaring")
    took, _ = seconds(lambda: chain(constant, reward, np.geomspace(1e3, 1e6, 4)))
    print(f"4 large betas          {took:8.2f} s   a reward per step and state, in differences from 1")
    varying = rng.dirichlet(np.ones(N_STATES), (2_000, N_STATES))
    steps = Markov(transition[0], varying, length=2_001)
    took, _ = seconds(lambda: chain(steps, reward[:2_001], BETAS))
    print(f"varying transitions    {took:8.2f} s   2,001 steps")


if __name__ == "__main__":
    main()
