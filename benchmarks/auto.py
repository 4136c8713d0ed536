"""``interval="auto"`` at size, against scipy.stats.bootstrap on the cells that auto bootstraps, in the same run.

100,000 prompts x 64 samples x 16 betas by default; pass a number of prompts for less. Nothing is declared, so that
every cell is looked at, and bootstrapped where it looks harmless. The ratio charges tiltz for all that it does
(moments, tails, betting limits of the other cells, too) and scipy for the bootstrapped cells alone, timed on a hundred.
"""

import sys
import time

import numpy as np
from scipy import stats

import tiltz

N_PROMPTS, N_SAMPLES, N_BETAS, TIMED = 100_000, 64, 16, 100


def main():
    n_prompts = int(sys.argv[1]) if len(sys.argv) > 1 else N_PROMPTS
    rng = np.random.default_rng(0)
    rewards, betas = rng.normal(size=(n_prompts, N_SAMPLES)), np.geomspace(0.3, 10, N_BETAS)
    table = tiltz.Outcomes.sampled(rewards)
    tiltz.estimate(table.select(np.arange(100)), betas)  # compiled once, then kept on disk
    begin = time.perf_counter()
    est = tiltz.estimate(table, betas)
    ours = time.perf_counter() - begin
    bootstrapped = np.isin(est.kind, ("calibrated", "approximate"))
    print(
        f"{n_prompts:,} prompts x {N_SAMPLES} samples x {N_BETAS} betas: {ours:.1f} s for {est.log_z.size:,} cells"
    )
    print(f"bootstrapped: {bootstrapped.sum():,}; the others have a lower limit alone")

    def log_mean(weights, axis):
        return np.log(np.mean(weights, axis=axis))

    cells = np.argwhere(bootstrapped)[:: max(int(bootstrapped.sum()) // TIMED, 1)][:TIMED]
    begin = time.perf_counter()
    for i, j in cells:
        weights = np.exp((rewards[i] - rewards[i].max()) / betas[j])
        stats.bootstrap((weights,), log_mean, n_resamples=999, method="percentile", vectorized=True)
    peer = (time.perf_counter() - begin) / len(cells) * bootstrapped.sum()
    print(f"scipy.stats.bootstrap (percentile, 999 resamples) on the bootstrapped cells: {peer:.0f} s")
    print(f"ratio: {peer / ours:.0f}")


if __name__ == "__main__":
    main()
