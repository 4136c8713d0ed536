"""Linear rewards of normal variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.covariance import covariance, root_of, vector
from tiltz.laws.normal import Normal
from tiltz.laws.parameters import number


def normal_linear(
    loc: npt.ArrayLike, cov: npt.ArrayLike, weights: npt.ArrayLike, *, shift: float = 0.0
) -> Normal:
    """Return the law of a linear reward of jointly normal variables.

    Parameters
    ----------
    loc : array_like, shape (n_variables,)
        Mean of the variables; a number where there is one.
    cov : array_like, shape (n_variables, n_variables)
        Their covariance, positive semi-definite; a number, the variance, where there is one.
    weights : array_like, shape (n_variables,)
        Reward per unit of each variable.
    shift : float
        What is added.

    Returns
    -------
    Normal
        Of mean ``weights @ loc + shift`` and variance ``weights @ cov @ weights``.

    Raises
    ------
    InputError
        If a shape or a number is wrong, ``cov`` is no covariance, or the reward does not vary.

    Notes
    -----
    With y normal and the reward a'y + c, log Z = (a'm + c) / beta + a'Sa / (2 beta^2) at every beta. The tilted y is
    normal too, with the mean m + S a / beta and the same covariance.

    Examples
    --------
    >>> from tiltz.laws import normal_linear
    >>> cov = [[2, 0.5, 0], [0.5, 1, -0.3], [0, -0.3, 1.5]]
    >>> normal_linear([0.1, 0.2, -0.4], cov, [1, -2, 0.5]).log_z(2.0).__round__(6)
    0.371875
    """
    centre = vector("loc", loc)
    slope = vector("weights", weights, len(centre))
    spread = covariance("cov", cov, len(centre))
    root = root_of(spread)
    variance = float(slope @ spread @ slope)
    if variance <= _rounding(root, slope):
        raise InputError(
            "weights must point where the variables vary: weights @ cov @ weights must be above 0; found "
            f"{variance:g}. For a constant reward use Categorical([1.0], [reward])."
        )
    return Normal(float(slope @ centre) + number("shift", shift), float(np.sqrt(variance)))


def _rounding(root: Any, slope: Any) -> float:
    """Return what a variance of 0 may come to by rounding."""
    parts = np.abs(slope)[:, None] * np.abs(root)
    return 16 * np.finfo(np.float64).eps * float(np.sum(parts)) ** 2
