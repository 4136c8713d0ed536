"""Whether Z is finite in one dimension: the integrand towards the ends of its domain, at every beta."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.known.integrals.integrand import Integrand, Tails
from tiltz.known.integrals.line.rays import Ray, rays_of
from tiltz.text import number

Floats = npt.NDArray[np.float64]

_EPS = float(np.finfo(float).eps)
_NOISE = 32.0  # roundings that a log-density and a reward may carry
_WINDOWS = 40
_NARROWEST, _WIDEST = 0.7, 9.0  # of a window, in units of log distance
_GROWTH = 1e-3  # of a reward's spread: less than this in the outer half of a ray is no growth
_SETTLED = 1e-3  # change of log critical t from three quarters of a ray to its end
_RUNS_AWAY = 0.1
_OVERFLOWS = 1e100  # beyond, a square or a product of coordinates may be too large for a float
_SMALLEST_T, _LARGEST_T = 1e-300, 1e300
_DOUBT = 4.0
_DROWNED = 1e-3  # nats of rounding


@dataclass(frozen=True, slots=True)
class _Critical:
    """Z is infinite at t from ``t`` on: 0 always, ``inf`` never; ``low`` to ``high`` is where that is in doubt."""

    t: float
    low: float
    high: float


def tails_of(integrand: Integrand) -> Tails:
    """Return where Z is finite, as far as the ends of a line or lattice tell.

    Parameters
    ----------
    integrand : Integrand
        In one dimension.

    Returns
    -------
    Tails
        Whether Z is infinite at each t, why, and the critical beta.

    Raises
    ------
    InputError
        If it cannot be decided at some t, within the range and the rounding of floating point.

    Notes
    -----
    With u the log of the distance, Z is finite if and only if the integral of exp(h) over u is, with
    h = log density + t reward + u: if h falls in the end. Both functions are compared as far out as they can be
    evaluated, to 1e307. From the outermost window inwards, the first change of h that exceeds its rounding decides; if
    none does, h is constant and Z infinite. A reward that does not grow cannot make Z infinite. The critical t is found
    by bisection; where it depends on how far the functions can be evaluated, its limit is 0 or infinite.

    Examples
    --------
    >>> from scipy.stats import expon
    >>> from tiltz.known.integrals.integrand import Space
    >>> space = Space(log_density=lambda y: expon.logpdf(y[:, 0]), sides=((0.0, np.inf),), embed=lambda y: y[:, 0],
    ...               near=np.array([[0.7]]))
    >>> tails = tails_of(Integrand(space=space, reward=lambda y: y, t=np.array([0.99, 1.0])))
    >>> tails.infinite.tolist(), round(tails.beta_min, 9)
    ([False, True], 1.0)
    """
    rays = [ray for ray in rays_of(integrand) if _grows(ray)]
    with np.errstate(all="ignore"):
        critical = [_critical(ray) for ray in rays]
        worst = [_cause(t, rays, critical) for t in integrand.t]
    beta_min = _beta_min(critical)
    reasons = [
        "" if ray is None else _reason(t, ray, beta_min) for t, ray in zip(integrand.t, worst, strict=True)
    ]
    infinite = np.array([ray is not None for ray in worst], dtype=bool)
    return Tails(infinite=infinite, reason=tuple(reasons), beta_min=beta_min)


def mean_is_infinite(integrand: Integrand) -> bool:
    """Return whether the mean reward under the reference is minus infinity: KL(reference || tilted) is then infinite.

    Parameters
    ----------
    integrand : Integrand
        In one dimension; its tilts do not matter.
    """
    with np.errstate(all="ignore"):
        rays = [_before_overflow(ray) for ray in rays_of(integrand)]
        losses = [
            np.where(r.log_density > -np.inf, np.log(np.maximum(-r.reward, 0.0)), -np.inf) for r in rays
        ]
        falling = [replace(ray, reward=loss) for ray, loss in zip(rays, losses, strict=True)]
        return any(_grows(ray) and _direction(ray, 1.0) in (0, 1) for ray in falling)


def _before_overflow(ray: Ray) -> Ray:
    """Return the ray up to where the reward becomes ``-inf`` only because its parts are beyond the largest float."""
    lost = (ray.reward == -np.inf) & (ray.log_density > -np.inf) & (np.abs(ray.at) > _OVERFLOWS)
    return ray.first(max(int(np.argmax(lost)), 2)) if np.any(lost) else ray


def _grows(ray: Ray) -> bool:
    """Whether the largest reward of the outer half of a ray is above that of the inner half."""
    reward = ray.reward
    outer = ray.out > (ray.out[0] + ray.out[-1]) / 2
    inner, most = np.max(reward[~outer], initial=-np.inf), np.max(reward[outer], initial=-np.inf)
    if most == -np.inf or inner == -np.inf:
        return bool(most > -np.inf)
    if most == np.inf:
        return True
    spread = abs(inner - np.median(reward[reward > -np.inf]))
    return bool(most - inner > _GROWTH * spread + 1e-12 * abs(inner))


def _direction(ray: Ray, t: float) -> int:
    """Return whether h rises (1) or falls (-1) in the end, or 0 if it is constant within its rounding.

    It is -2 if h falls only before its rounding drowns it: Z is finite, but cannot be summed.
    """
    gain = t * ray.reward
    h = ray.log_density + gain + ray.volume
    rounding = _EPS * (1.0 + np.abs(ray.out)) + _EPS * np.abs(ray.log_density) + _EPS * np.abs(gain)
    noise = np.where(np.isfinite(h), _NOISE * rounding + ray.doubt * np.abs(ray.log_density), 0.0)
    width = np.clip((ray.out[-1] - ray.out[0]) / _WINDOWS, _NARROWEST, _WIDEST)
    window = np.floor((ray.out[-1] - ray.out) / width).astype(int)[::-1]
    first = np.flatnonzero(np.diff(window, prepend=-1))
    least = np.maximum.reduceat((h - noise)[::-1], first)
    most = np.maximum.reduceat((h + noise)[::-1], first)
    if np.isinf(most[0]):
        return int(np.sign(most[0]))
    rises, falls = least[:-1] > most[1:], most[:-1] < least[1:]
    clear = rises | falls
    if not np.any(clear):
        return 0
    first_clear = int(np.argmax(clear))
    if rises[first_clear]:
        return 1
    return -2 if first_clear > 0 and noise[-1] > _DROWNED else -1


def _critical(ray: Ray) -> _Critical:
    """Return the critical t of a ray, extrapolated to the end of the domain."""
    whole, less = _boundary(ray), _boundary(ray.up_to(0.75))
    if whole == less or abs(math.log(whole / less)) < _SETTLED:
        t = {_SMALLEST_T: 0.0, _LARGEST_T: math.inf}.get(whole, whole)
        return _Critical(t, t, t)
    if math.log(whole / less) < -_RUNS_AWAY:
        return _Critical(0.0, 0.0, 0.0)
    if math.log(whole / less) > _RUNS_AWAY:
        return _Critical(math.inf, math.inf, math.inf)
    return _Critical(math.nan, whole / _DOUBT, whole * _DOUBT)


def _boundary(ray: Ray) -> float:
    """Return the smallest t at which h does not fall, by bisection of its log."""
    low, high = math.log(_SMALLEST_T), math.log(_LARGEST_T)
    if _direction(ray, _SMALLEST_T) >= 0:
        return _SMALLEST_T
    if _direction(ray, _LARGEST_T) < 0:
        return _LARGEST_T
    while True:
        middle = (low + high) / 2
        if middle in (low, high) or high - low < 1e-15:
            return math.exp(middle)
        if _direction(ray, math.exp(middle)) >= 0:
            high = middle
        else:
            low = middle


def _cause(t: float, rays: list[Ray], critical: list[_Critical]) -> Ray | None:
    """Return the ray along which Z is infinite at t, if there is one, or refuse what cannot be told."""
    for ray, found in zip(rays, critical, strict=True):
        beyond = found.t / 2 < t < math.inf and found.t < math.inf and _direction(ray, t) >= 0
        if found.t == 0 or beyond or (math.isnan(found.t) and t >= found.high):
            return ray
    for ray, found in zip(rays, critical, strict=True):
        if math.isnan(found.t) and found.low < t < found.high:
            raise InputError(
                f"Z must be known to be finite or not; at beta {number(1 / t)} that cannot be told towards "
                f"y = {_name(ray.end)}, since log-density and reward can be evaluated only up to "
                f"y = {number(ray.at[-1])}. Give a log-density computed in logs, which does not become -inf there, "
                "or choose a larger beta."
            )
        if found.t < math.inf and _direction(ray, t) == -2:
            raise InputError(
                f"Z must be computed from a log-density and a reward that do not cancel; beta {number(1 / t)} is, "
                f"within rounding, where Z becomes infinite, and towards y = {_name(ray.end)} their sum is rounding. "
                "Choose a larger beta."
            )
    return None


def _beta_min(critical: list[_Critical]) -> float:
    found = [c.t for c in critical]
    if any(math.isnan(t) for t in found):
        return math.inf if 0.0 in found else math.nan
    least = min(found, default=math.inf)
    return math.inf if least == 0 else 1.0 / least


def _reason(t: float, ray: Ray, beta_min: float) -> str:
    """Return one sentence on why Z is infinite."""
    if beta_min == math.inf:
        fate = "it is infinite at every beta"
    elif math.isnan(beta_min):
        fate = "above which beta it is finite was not found"
    else:
        fate = f"it is finite above beta = {number(beta_min, 6)}"
    with np.errstate(all="ignore"):
        h = ray.log_density + t * ray.reward + ray.volume
    where = int(np.argmax(np.where(np.isfinite(h), h, -np.inf)))
    grown = f" (at y = {number(ray.at[where])} by {number(h[where])} nats)" if h[where] > 1 else ""
    return (
        f"Z is infinite at beta {number(1 / t)}: towards y = {_name(ray.end)} reward/beta outweighs what the "
        f"log-density and the log of the distance leave{grown}; {fate}"
    )


def _name(end: float) -> str:
    return f"{end:+g}" if np.isinf(end) else number(end)
