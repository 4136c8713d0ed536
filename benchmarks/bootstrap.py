"""Bootstrap-t of every cell against scipy.stats.bootstrap (percentile, vectorized) on the same cells in the same run.

Gaussian rewards (sd 1), 64 samples a group, 16 betas such that sd / beta spans 0.1 to 3, 999 resamples. scipy is run
cell by cell, and once more with all betas of a group in one call, which shares its draws as tiltz does. Prints
seconds (best of three for tiltz and for the joint call), microseconds per cell and the ratio per cell.
"""

import os
import time

import numpy as np
from scipy import stats

import tiltz
from tiltz.inference.bootstrap import bootstrap_t

N_GROUPS, N_SAMPLES, N_RESAMPLES = 64, 64, 999
BETAS = 1 / np.geomspace(0.1, 3, 16)


def seconds(work, repeats=3):
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def scipy_limits(weights, rng):
    """Percentile limits of the log mean over the last axis."""
    return stats.bootstrap(
        (weights,),
        lambda w, axis: np.log(np.mean(w, axis=axis)),
        n_resamples=N_RESAMPLES,
        method="percentile",
        vectorized=True,
        axis=-1,
        rng=rng,
    ).confidence_interval


def main():
    rewards = np.random.default_rng(0).normal(size=(N_GROUPS, N_SAMPLES))
    columns = tiltz.Outcomes.sampled(rewards).columns()
    weights = np.exp(rewards[:, None, :] / BETAS[:, None])
    seed = np.arange(N_GROUPS, dtype=np.uint64)

    def ours():
        return bootstrap_t(columns, BETAS[None, :], level=0.95, seed=seed, n_resamples=N_RESAMPLES)

    rng = np.random.default_rng(1)
    begin = time.perf_counter()
    ours()
    first = time.perf_counter() - begin
    times = {
        "scipy.stats.bootstrap, a cell a call": seconds(
            lambda: [scipy_limits(w, rng) for group in weights for w in group], 1
        ),
        "scipy.stats.bootstrap, a group a call": seconds(
            lambda: [scipy_limits(group, rng) for group in weights]
        ),
        "tiltz bootstrap_t": seconds(ours),
    }
    cells = N_GROUPS * len(BETAS)
    print(f"{cells:,} cells of {N_SAMPLES} samples, {N_RESAMPLES} resamples, {os.cpu_count()} processors")
    for name, taken in times.items():
        ratio = times["scipy.stats.bootstrap, a cell a call"] / taken
        print(f"{name:38s} {taken:7.3f} s {taken / cells * 1e6:8.1f} us per cell  {ratio:6.1f} times as fast")
    print(f"(first call of tiltz, with loading or compiling: {first:.2f} s)")


if __name__ == "__main__":
    main()
