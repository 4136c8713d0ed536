"""Whether a law keeps the promises of its protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.closed_form import checked_beta
from tiltz.laws.law import Law

Floats = npt.NDArray[np.float64]

_CURVES = ("log_z", "soft_value", "mean_reward", "kl", "kl_reverse")
_STEP = 1e-3  # relative step of the derivative by 1/beta, whose error is of the fourth order
_DRAWS = 100_000
_MOST_VARIANCE = 100.0  # relative, of the weights: beyond it the mean of the draws is not near normal
_SDS = 4.89  # one false alarm in a million


def check_law(
    law: Law, betas: npt.ArrayLike | None = None, *, rng: np.random.Generator | None = None
) -> None:
    """Try a law against what :class:`tiltz.laws.Law` promises.

    Parameters
    ----------
    law : Law
        One's own, or one of tiltz.
    betas : array_like, optional
        Where the curves are tried; by default 25 from 0.01 to 10,000, or from just above ``beta_min``.
    rng : numpy.random.Generator, optional
        Source of the draws against which log Z is tried; a fixed one if left out.

    Raises
    ------
    InputError
        If a promise is broken, saying which and where.

    Notes
    -----
    The curves are compared with each other to six digits, and with 100,000 draws: the mean of their weights, at
    the smallest beta where the weights have a relative variance of at most 0.1 (or the least there is), must be Z
    within 4.89 of its exact standard deviations, which a correct law misses once in a million. At a beta of 1e14
    standard deviations of the reward the two divergences must be equal to four digits, which differences of the
    other curves would not be.

    Examples
    --------
    >>> from tiltz.laws import Beta, check_law
    >>> check_law(Beta(2, 5))
    """
    rng = np.random.default_rng(0) if rng is None else rng
    _check_infinite(law)
    beta = _default_betas(law.beta_min) if betas is None else np.sort(np.atleast_1d(checked_beta(betas)))
    beta = beta[beta > law.beta_min]
    _check_range(law, rng)
    if not len(beta):
        return
    curves = {name: _curve(law, name, beta) for name in _CURVES}
    _check_identities(law, beta, curves)
    _check_order(law, beta, curves)
    _check_derivative(law, beta, curves["mean_reward"])
    _check_tiny_divergences(law, rng)
    _check_draws(law, beta, rng)


def _default_betas(beta_min: float) -> Floats:
    if beta_min == np.inf:
        return np.empty(0)
    return np.geomspace(max(0.01, 1.05 * beta_min), 1e4 * max(1.0, beta_min), 25)


def _curve(law: Law, name: str, beta: Floats) -> Floats:
    curve = getattr(law, name)
    found, single = curve(beta), curve(float(beta[0]))
    if np.shape(found) != beta.shape or not isinstance(single, float):
        _refuse(
            law, f"{name} must return an array for an array of betas and a float for one", beta[0], single
        )
    if not np.isclose(single, found[0], rtol=1e-12, atol=0.0):
        _refuse(law, f"{name} must not depend on the other betas", beta[0], single)
    return found


def _check_infinite(law: Law) -> None:
    if not 0 < law.beta_min < np.inf:
        return
    for beta in (law.beta_min, 0.5 * law.beta_min):
        for name in ("log_z", "soft_value"):
            if getattr(law, name)(beta) != np.inf:
                _refuse(law, f"{name} must be infinite at and below beta_min", beta, getattr(law, name)(beta))
        for name in ("mean_reward", "kl", "kl_reverse"):
            if not np.isnan(getattr(law, name)(beta)):
                _refuse(law, f"{name} must be NaN at and below beta_min", beta, getattr(law, name)(beta))


def _check_range(law: Law, rng: np.random.Generator) -> None:
    low, high = law.reward_range
    reward = law.sample((50, 20), rng)
    if reward.shape != (50, 20):
        _refuse(law, "sample must return the shape that is asked for", None, reward.shape)
    if np.any((reward < low) | (reward > high)):
        _refuse(law, "every draw must lie in reward_range", None, (reward.min(), reward.max()))


def _check_identities(law: Law, beta: Floats, curves: dict[str, Floats]) -> None:
    log_z, mean_reward = curves["log_z"], curves["mean_reward"]
    size = np.abs(log_z) + np.abs(mean_reward) / beta
    wanted = {"soft_value": beta * log_z, "kl": mean_reward / beta - log_z}
    size_of = {"soft_value": np.abs(beta * log_z), "kl": size}
    if np.isfinite(law.mean):
        wanted["kl_reverse"] = log_z - law.mean / beta
        size_of["kl_reverse"] = size + abs(law.mean) / beta
    for name, values in wanted.items():
        _refuse_where(np.abs(curves[name] - values) > 1e-6 * size_of[name], law, name, beta, curves[name])
    for name in ("kl", "kl_reverse"):
        _refuse_where(~(curves[name] >= 0), law, f"{name}, which is never negative,", beta, curves[name])


def _check_order(law: Law, beta: Floats, curves: dict[str, Floats]) -> None:
    high = law.reward_range[1]
    for name in ("soft_value", "mean_reward"):
        values = curves[name]
        slack = 1e-9 * np.max(np.abs(values))
        outside = (values > high + slack) | (values < law.mean - slack)
        _refuse_where(
            outside, law, f"{name}, which lies between the mean and the highest reward,", beta, values
        )
        rising = np.append(np.diff(values) > slack, False)
        _refuse_where(rising, law, f"{name}, which never rises with beta,", beta, values)


def _check_derivative(law: Law, beta: Floats, mean_reward: Floats) -> None:
    def log_z(k: int) -> Floats:
        return law.log_z(beta / (1.0 + k * step))

    step = np.minimum(_STEP, 0.1 * (1.0 - law.beta_min / beta))
    difference = (8.0 * (log_z(1) - log_z(-1)) - (log_z(2) - log_z(-2))) / (12.0 * step)
    # Rounding of log Z is magnified by one over the step.
    slack = 1e-6 * np.abs(mean_reward / beta) + 1e-14 * np.abs(law.log_z(beta)) / step + 1e-5 * law.kl(beta)
    wrong = np.abs(difference - mean_reward / beta) > slack
    _refuse_where(wrong, law, "mean_reward, the derivative of log_z by 1/beta,", beta, mean_reward)


def _check_tiny_divergences(law: Law, rng: np.random.Generator) -> None:
    reward = law.sample(1000, rng)
    if not np.isfinite(law.mean) or np.ptp(reward) == 0:
        return
    beta = max(1e14 * float(np.std(reward)), 2.0 * law.beta_min)
    kl, kl_reverse = law.kl(beta), law.kl_reverse(beta)
    if abs(kl - kl_reverse) > 1e-4 * kl_reverse:
        _refuse(law, f"kl must be near kl_reverse, {kl_reverse:.6g}, where both are tiny", beta, kl)


def _check_draws(law: Law, beta: Floats, rng: np.random.Generator) -> None:
    with np.errstate(over="ignore"):
        variance = np.expm1(law.log_z(beta / 2.0) - 2.0 * law.log_z(beta))
    light = variance <= max(0.1, float(np.min(variance)))
    first = int(np.argmax(light))
    if variance[first] > _MOST_VARIANCE:
        return
    weight = np.exp(law.sample(_DRAWS, rng) / beta[first] - law.log_z(float(beta[first])))
    if abs(np.mean(weight) - 1.0) > _SDS * np.sqrt(variance[first] / _DRAWS) + 1e-12:
        _refuse(law, "the mean weight of draws must be Z", beta[first], f"{np.mean(weight):g} times Z")


def _refuse_where(wrong: npt.NDArray[np.bool_], law: Law, name: str, beta: Floats, values: Floats) -> None:
    if np.any(wrong):
        first = int(np.argmax(wrong))
        _refuse(law, f"{name} must agree with the other curves", beta[first], values[first])


def _refuse(law: Law, what: str, beta: Any, found: Any) -> None:
    where = "" if beta is None else f" at beta {beta:g}"
    shown = f"{found:.12g}" if isinstance(found, float) else str(found)
    raise InputError(
        f"{what}; found {shown}{where} in {type(law).__name__}. See the promises of tiltz.laws.Law."
    )
