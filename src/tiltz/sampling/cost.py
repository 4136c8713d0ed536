"""What fidelity costs: draws from the reference per draw against the distance from the tilted law, from one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.request import check_table
from tiltz.outcomes import Outcomes
from tiltz.sampling.acceptance import one_beta, possible_rewards
from tiltz.text import number, paragraph, table

Floats = npt.NDArray[np.float64]

_NEGLIGIBLE = 45.0  # nats
_STEP = 0.25  # of the integral over the sum of the other weights, in nats
_LEAST_WEIGHT = -600.0  # in nats below the largest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CostCurve:
    """Cost against fidelity at one beta.

    Attributes
    ----------
    method : array of str, shape (n_points,)
        "rejection" (with a ceiling), "resampling" (one of m draws by its weight) or "best-of-n" (the best of m).
    parameter : array, shape (n_points,)
        The ceiling of a rejection, in reward; else m.
    cost : array, shape (n_points,)
        Expected draws from the reference for one result.
    tv : array, shape (n_points,)
        Total-variation distance between the law of the result and the tilted distribution.
    beta : float
        KL coefficient, in reward per nat.
    n : int
        Rows on which the curve rests.
    """

    method: npt.NDArray[Any]
    parameter: Floats
    cost: Floats
    tv: Floats
    beta: float
    n: int

    def __repr__(self) -> str:
        return f"CostCurve({len(self.cost)} points, beta {number(self.beta)}, {self.n:,} rows)"

    def cheapest(self, tv: float) -> int:
        """Return the index of the cheapest point that is near enough.

        Parameters
        ----------
        tv : float
            Largest total-variation distance from the tilted distribution.
        """
        near = self.tv <= tv
        if not np.any(near):
            raise InputError(
                f"no point is within {tv:g} of the tilted law; the nearest is {self.tv.min():.3g}."
            )
        return int(np.argmin(np.where(near, self.cost, np.inf)))

    def summary(self) -> str:
        """Return the curve as text of at most 80 columns."""
        cells = [
            [str(self.method[i]), number(self.parameter[i]), number(self.cost[i]), number(self.tv[i], 3)]
            for i in range(len(self.cost))
        ]
        about = f"beta {number(self.beta)}; plug-in from {self.n:,} rows, which stand for the reference"
        return "\n".join(
            [table(["method", "ceiling or m", "draws", "tv"], cells, right=range(1, 4)), *paragraph(about)]
        )


def cost_curve(
    outcomes: Outcomes, beta: float, *, n_points: int = 12, reward_range: tuple[float, float] | None = None
) -> CostCurve:
    """Return cost against fidelity of rejection, resampling and best-of-n, all from one stored sample.

    Parameters
    ----------
    outcomes : Outcomes
        One prompt: complete, or draws from the reference.
    beta : float
        KL coefficient, > 0, in reward per nat.
    n_points : int, default 12
        Points of each method at most.
    reward_range : (float, float), optional
        Lowest and highest possible reward; overrides what the table declares.

    Returns
    -------
    CostCurve
        Points method by method, each from cheap to dear.

    Raises
    ------
    InputError
        If the table holds several prompts, importance weights or a part of the domain.

    Notes
    -----
    Exact for the law of the rows; of a sample a plug-in: consistent, and too good where the rows miss the best
    outcomes. A ceiling is a reward that was seen, or the highest possible one, at which rejection is exact. The law of
    one of m draws resampled by weight has the density m E[w / (w + W)] under the reference, W being the sum of m - 1
    other weights; with 1 / x = integral of exp(-s x) over s > 0 it takes one integral.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> table = tiltz.Outcomes.complete(np.log([0.5, 0.4, 0.1]), [0.0, 1.0, 2.0])
    >>> curve = tiltz.sampling.cost_curve(table, 0.5)
    >>> [(str(curve.method[i]), round(float(curve.cost[i]), 1)) for i in map(curve.cheapest, (0.3, 0.01))]
    [('best-of-n', 4.0), ('rejection', 6.1)]
    """
    check_table(outcomes)
    beta = one_beta(beta)
    if len(outcomes.prompt) != 1:
        raise InputError(
            f"a cost curve is that of one prompt; found {len(outcomes.prompt)}. Choose one with Outcomes.select."
        )
    if outcomes.evidence == "partial" or outcomes.weighted:
        raise InputError("a cost curve needs the whole domain, or draws from the reference.")
    columns = outcomes.columns()
    # Rows of equal reward are one: every method favours them alike.
    reward, group = np.unique(columns.reward, return_inverse=True)
    mass = np.bincount(group, weights=np.exp(columns.log_mass))
    reward, mass = reward[mass > 0], mass[mass > 0] / mass.sum()
    if np.isneginf(reward[-1]):
        raise InputError("a tilted policy needs an outcome of positive weight; every reward is -inf.")
    highest = possible_rewards(outcomes, reward_range)[1]
    log_weight = (reward - reward[-1]) / beta
    target = mass * np.exp(log_weight)
    target /= target.sum()
    ceilings = _ceilings(reward, target, highest if np.isfinite(highest) else float(reward[-1]), n_points)
    sizes = np.exp2(np.arange(n_points, dtype=np.float64))
    points = [("rejection", c, *_rejection(reward, mass, c, beta)) for c in ceilings]
    points += [
        ("resampling", m, m, law) for m, law in zip(sizes, _resampled(mass, log_weight, sizes), strict=True)
    ]
    points += [("best-of-n", m, m, _best_of(mass, m)) for m in sizes]
    return CostCurve(
        method=np.array([method for method, *_ in points]),
        parameter=np.array([parameter for _, parameter, *_ in points]),
        cost=np.array([cost for _, _, cost, _ in points]),
        tv=np.array([0.5 * np.abs(law - target).sum() for *_, law in points]),
        beta=beta,
        n=len(outcomes),
    )


def _ceilings(reward: Floats, target: Floats, highest: float, n_points: int) -> Floats:
    """Return rewards that were seen, at equal steps of the tilted mass, and the highest possible one."""
    at = np.searchsorted(np.cumsum(target), np.arange(n_points - 1) / (n_points - 1)) if n_points > 1 else []
    at = np.clip(np.asarray(at, dtype=np.int64), np.argmax(reward > -np.inf), len(reward) - 1)
    return np.unique(np.append(reward[at], highest))


def _rejection(reward: Floats, mass: Floats, ceiling: float, beta: float) -> tuple[float, Floats]:
    """Return the expected draws for one that is accepted, and the law of that one over the rows."""
    law = mass * np.exp(np.minimum(reward - ceiling, 0.0) / beta)
    rate = law.sum()
    return float(1 / rate), law / rate


def _best_of(mass: Floats, m: float) -> Floats:
    """Return the law of the best of m draws over the rewards in ascending order."""
    upto = np.minimum(np.cumsum(mass), 1.0)
    upto[-1] = 1.0
    return np.diff(upto**m, prepend=0.0)


def _resampled(mass: Floats, log_weight: Floats, sizes: Floats) -> Floats:
    """Return the law of one of m draws by its weight, given that one has a weight; a row for each m.

    The density under the reference is the integral over s > 0 of m w exp(-s w) phi(s)^(m - 1), phi(s) = E exp(-s w), by
    the trapezoidal rule in log s: its error is about exp(-pi^2 / step), since the integrand is analytic and vanishes at
    both ends. Weights below exp(-600) of the largest, to which the tilted law gives nothing, count as equal.
    """
    weight = np.exp(np.where(np.isneginf(log_weight), -np.inf, np.maximum(log_weight, _LEAST_WEIGHT)))
    low, high = -_NEGLIGIBLE - np.log(sizes[-1]), np.log(_NEGLIGIBLE) - np.log(weight[weight > 0].min())
    law = np.zeros((len(sizes), len(mass)))
    for s in np.exp(np.arange(low, high, _STEP)):
        with np.errstate(under="ignore"):
            fall = np.exp(-s * weight)
            law += np.sum(mass * fall) ** (sizes[:, None] - 1) * (s * weight * fall)
    law *= mass
    return law / law.sum(axis=1, keepdims=True)
