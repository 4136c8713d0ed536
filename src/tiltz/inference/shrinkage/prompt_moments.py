"""What each prompt's samples say without a model: moments, and products of independent parts of them.

A product of statistics of different samples of one prompt is unbiased for the product of what they estimate, whatever
the law of the rewards. That is how the spread between prompts is told from the noise within them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PromptMoments:
    """Statistics of each prompt, arrays of shape (n_prompts,).

    Attributes
    ----------
    n, mean, sd : array
        Samples, their mean and standard deviation (divisor n - 1).
    third, fourth : array
        Unbiased estimates of the third and fourth cumulant (k-statistics).
    difference : array
        Mean absolute difference of two samples.
    difference_squared : array
        Mean product of the differences of two disjoint pairs of samples.
    mean_by_difference : array
        Mean product of one sample and the difference of two others.
    """

    n: Floats
    mean: Floats
    sd: Floats
    third: Floats
    fourth: Floats
    difference: Floats
    difference_squared: Floats
    mean_by_difference: Floats


def prompt_moments(reward: Floats, start: npt.NDArray[np.int64]) -> PromptMoments:
    """Return the moments of groups of at least four rewards.

    Parameters
    ----------
    reward : array, shape (n_rows,)
        Rewards, one prompt after another.
    start : int array, shape (n_prompts + 1,)
        Where each prompt's rows begin, and the number of rows.

    Notes
    -----
    Sums over pairs of pairs are sums over rows of D = sum over the others of abs(difference), which sorting gives:
    ordered pairs of disjoint pairs sum to (sum D)^2 - 4 sum D^2 + 2 sum of squared differences.

    References
    ----------
    .. [1] M. G. Kendall, A. Stuart, *The advanced theory of statistics*, vol. 1, ch. 12 (k-statistics).
    .. [2] W. Hoeffding, Annals of Mathematical Statistics 19 (1948) 293-325 (U-statistics).
    """
    n, first = np.diff(start).astype(np.float64), start[:-1]
    group = np.repeat(np.arange(len(n)), np.diff(start))

    def total(values: Floats) -> Floats:
        return np.add.reduceat(values, first)

    mean = total(reward) / n
    centred = reward - mean[group]
    centred = centred[np.lexsort((centred, group))]
    second, third, fourth = (total(centred**power) / n for power in (2, 3, 4))
    distance = _distances(centred, n, first, group)
    sum_distance, falling = total(distance), _falling(n)
    pairs = sum_distance**2 - 4 * total(distance**2) + 4 * n**2 * second
    # In units centred on the prompt's mean the other samples sum to minus the two of the pair.
    with_third = -2 * total(centred * distance) / falling[3]
    difference = sum_distance / falling[2]
    return PromptMoments(
        n=n,
        mean=mean,
        sd=np.sqrt(n / (n - 1) * second),
        third=n**3 / falling[3] * third,
        fourth=n**2 * ((n + 1) * n * fourth - 3 * (n - 1) * n * second**2) / falling[4],
        difference=difference,
        difference_squared=pairs / falling[4],
        mean_by_difference=mean * difference + with_third,
    )


def _distances(
    centred: Floats, n: Floats, first: npt.NDArray[np.int64], group: npt.NDArray[np.int64]
) -> Floats:
    """Return for each row the sum of its distances to the others of its group, rows sorted within groups."""
    running = np.cumsum(centred)
    before = running[first] - centred[first]
    up_to = running - before[group]
    rank = np.arange(len(centred)) - first[group] + 1
    whole = np.add.reduceat(centred, first)
    return (2 * rank - n[group]) * centred + whole[group] - 2 * up_to


def _falling(n: Floats) -> dict[int, Floats]:
    """Return n (n - 1) ... with 2, 3 and 4 factors."""
    return {2: n * (n - 1), 3: n * (n - 1) * (n - 2), 4: n * (n - 1) * (n - 2) * (n - 3)}
