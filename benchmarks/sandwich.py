"""Bounds of log Z from both ends: how wide they are, and how often their limits hold.

Reference N(0, 1), reward s y at beta 1: the tilted policy is N(s, 1), and log Z and both divergences are s^2 / 2; n
rows from each, 500 replications. "held" is the share of intervals that hold log Z (level 0.95), "two-sided" that of the
reverse estimator's intervals with two limits, "reverse held" the share of all of these that hold log Z.
"""

import numpy as np

import tiltz

REPLICATIONS, SIZES = 500, [1, 4, 16, 64]


def draws(shift, s, n, seed):
    reward = s * np.random.default_rng([seed, n]).normal(shift, size=(REPLICATIONS, n))
    return tiltz.Outcomes.sampled(reward, drawn_from="tilted" if shift else None)


def lines(s, n):
    truth = s * s / 2
    found = tiltz.sandwich(draws(0, s, n, 1), draws(s, s, n, 2), 1.0, k=SIZES)
    two = np.isfinite(found.reverse_lo) & np.isfinite(found.reverse_hi)
    held = (found.reverse_lo <= truth) & (truth <= found.reverse_hi)
    for j, k in enumerate(SIZES):
        lo, hi = found.lo[:, j], found.hi[:, j]
        print(
            f"| {truth:.1f} | {n} | {k} | {found.lower[:, j].mean():.2f} | {found.upper[:, j].mean():.2f} "
            f"| {np.median(hi - lo):.2f} | {np.mean((lo <= truth) & (truth <= hi)):.3f} "
            f"| {two.mean():.2f} | {held.mean():.3f} |",
            flush=True,
        )


print(
    "| log Z | n | k | lower | upper | width | held | two-sided | reverse held |\n|---|---|---|---|---|---|---|---|---|"
)
for scale in (1.0, 2.0, 4.0):
    for rows in (64, 512):
        lines(scale, rows)
