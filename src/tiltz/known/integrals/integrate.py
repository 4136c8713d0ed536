"""log Z of a density and a reward: integrated over the entire domain, or infinite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.checks import MASS_TOLERANCE, as_floats
from tiltz.errors import InputError
from tiltz.inference.request import checked_betas
from tiltz.kernels import reduce_groups
from tiltz.known.integrals.integrand import Integrand, Nodes, Tails
from tiltz.known.integrals.spaces import space_of
from tiltz.known.log_sum import log_sum
from tiltz.known.result import Known
from tiltz.outcomes import Outcomes
from tiltz.text import number

Floats = npt.NDArray[np.float64]

_MOST_CUBATURE = 4  # dimensions
_EXACT = 1e-6  # nats: an error above is not called exact
_EPS = float(np.finfo(np.float64).eps)
_POOR = 1e-4  # nats: an error of cubature that weighted draws may well improve on
_HIDDEN = 1e-12  # of Z
_DOUBT = 2.0  # times a statistical error of the mass, before it is called wrong


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class KnownIntegral(Known):
    """log Z of one density and reward, and the nodes with which it was summed.

    Attributes
    ----------
    outcomes : Outcomes
        The nodes as a complete table: their masses sum to 1, and at the betas that were asked for, where Z is finite,
        its sums are the integrals. It is one prompt. At other betas it is a rule that nobody checked.
    at : array, shape (n_nodes,) or (n_nodes, d)
        What the reward received at each row of the table.
    n_evaluations : int
        Points at which the reward was evaluated.
    """

    outcomes: Outcomes
    at: Floats
    n_evaluations: int


def integrate(
    reference: Any,
    reward: Callable[[Any], npt.ArrayLike],
    beta: float | npt.ArrayLike,
    *,
    domain: Any = None,
    breaks: Sequence[Any] = (),
    renormalise: bool = False,
    tolerance: float = 1e-11,
    max_evaluations: int = 20_000_000,
) -> KnownIntegral:
    """Integrate Z over the entire domain of a density, or say that it is infinite.

    Parameters
    ----------
    reference : object
        A frozen ``scipy.stats`` distribution: univariate (continuous or discrete), multivariate normal, multivariate
        t, Dirichlet, uniform direction or von Mises-Fisher. Or a log-density in nats, a function of points, with its
        ``domain``. Or a list of those, independent of each other, with pairs (log-density, domain) in it.
    reward : callable
        Vectorised: points of shape (m,) in one dimension, else (m, d), to rewards of shape (m,). On a sphere points
        are unit vectors. ``-inf`` is a hard constraint.
    beta : float or array_like, shape (n_betas,)
        KL coefficients, > 0, in reward per nat.
    domain : object, optional
        Of a log-density: (low, high), infinite ends allowed; a list of such pairs for a box; "circle" for angles from
        -pi to pi; "sphere" for unit vectors in three dimensions.
    breaks : sequence, optional
        Where the reward may have a kink or a step: numbers in one dimension, else one sequence of numbers for each
        coordinate. Without them it takes longer, and a narrow feature that no point met is not seen.
    renormalise : bool, default False
        Divide by the mass of the log-density instead of refusing one that is not 1.
    tolerance : float, default 1e-11
        Error of log Z to aim at, in nats.
    max_evaluations : int
        Points at which the reward may be evaluated.

    Returns
    -------
    KnownIntegral
        One prompt. ``error`` is the error that was reached, in nats; where it is above 1e-6 or comes from replication
        (five dimensions and more), ``kind`` is "approximate". Where Z is infinite ``log_z`` is ``inf``, and ``reason``
        says why; ``beta_min`` is the critical beta.

    Raises
    ------
    InputError
        If the mass is not 1, a function does not return numbers, or finite and infinite cannot be told apart.

    Notes
    -----
    Up to four dimensions the mass of every tilt is located first, then integrated by adaptive Kronrod rules in log
    space; beyond, by scrambled Sobol points from a mixture around every mode, with the error of 16 replications. The
    error is the difference of two rules plus rounding and what lies beyond the last node: it holds in practice, and
    assumes that every mode was seen. Infinite Z is found by comparing log-density and reward / beta towards every end
    of the domain, as far as floating point reaches; in several dimensions along straight lines.

    References
    ----------
    .. [1] R. Piessens et al., *QUADPACK*, Springer 1983.
    .. [2] A. B. Owen, Y. Zhou, "Safe and effective importance sampling", J. Amer. Statist. Assoc. 95 (2000), 135-143.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> from tiltz.known import integrate
    >>> known = integrate(stats.norm(0, 1), np.cos, beta=0.25)  # log(I0(4) + 2 sum of exp(-k^2 / 2) Ik(4))
    >>> round(float(known), 10)
    3.2170401737
    >>> integrate(stats.t(5), lambda y: y, beta=10).reason[0, 0].split(":")[0]
    'Z is infinite at beta 10'
    """
    betas = checked_betas(beta)
    space = space_of(reference, domain)
    with np.errstate(over="ignore"):
        t = 1.0 / betas
    integrand = Integrand(
        space=space,
        reward=_checked_reward(reward),
        t=t,
        breaks=_breaks(breaks, space.sides),
        tolerance=_above_zero(tolerance, "tolerance"),
        max_evaluations=int(_above_zero(max_evaluations, "max_evaluations")),
    )
    tails = _tails(integrand)
    integrand = replace(integrand, t=t[~tails.infinite])
    nodes = _nodes(integrand)
    _check_reach(integrand, nodes)
    if not renormalise:
        _check_mass(nodes)
    return _known(integrand, tails, nodes, betas)


def _checked_reward(reward: Any) -> Any:
    if not callable(reward):
        raise InputError(
            f"a reward must be a function of an array of points, such as numpy.cos; found {reward!r:.100}."
        )
    return reward


def _above_zero(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
        raise InputError(f"{name} must be a number above 0; found {value!r:.100}.")
    return float(value)


def _breaks(breaks: Sequence[Any], sides: tuple[tuple[float, float], ...]) -> tuple[Floats, ...]:
    """Return the break points inside every side, ascending; in one dimension a plain list of numbers will do."""
    each = [breaks] if len(sides) == 1 and not any(np.ndim(part) for part in breaks) else list(breaks)
    if not len(breaks):
        each = [()] * len(sides)
    if len(each) != len(sides):
        raise InputError(
            f"breaks must be one sequence of numbers for each of the {len(sides)} coordinates; found {len(each)}."
        )
    checked = [as_floats(part, "breaks").ravel() for part in each]
    if any(np.any(np.isnan(part)) for part in checked):
        raise InputError("breaks must be numbers, at which the reward has a kink or a step; found NaN.")
    return tuple(
        np.unique(part[(part > low) & (part < high)])
        for part, (low, high) in zip(checked, sides, strict=True)
    )


def _tails(integrand: Integrand) -> Tails:
    from tiltz.known.integrals import line, volume

    return (
        line.tails_of(integrand) if len(integrand.space.sides) == 1 else volume.directional_tails(integrand)
    )


def _mean_is_infinite(integrand: Integrand) -> bool:
    from tiltz.known.integrals import line

    return len(integrand.space.sides) == 1 and line.mean_is_infinite(integrand)


def _nodes(integrand: Integrand) -> Nodes:
    """Return nodes by the rule for this space."""
    from tiltz.known.integrals import line, volume

    n_dimensions = len(integrand.space.sides)
    if integrand.space.discrete:
        return line.lattice_nodes(integrand)
    if n_dimensions == 1:
        return line.line_nodes(integrand)
    if n_dimensions > _MOST_CUBATURE:
        return volume.quasi_nodes(integrand)
    nodes = volume.cube_nodes(integrand)
    if n_dimensions == 2 or _worst(nodes) <= _POOR:
        return nodes
    draws = volume.quasi_nodes(integrand)
    return draws if _worst(draws) < _worst(nodes) else nodes


def _worst(nodes: Nodes) -> float:
    return max(nodes.mass_error, float(np.max(nodes.error, initial=0.0)))


def _check_mass(nodes: Nodes) -> None:
    mass = float(np.exp(log_sum(nodes.log_mass)))
    allowed = MASS_TOLERANCE + nodes.mass_error * (_DOUBT if nodes.statistical else 1.0)
    if not abs(mass - 1.0) <= allowed:
        raise InputError(
            f"the reference must have mass 1; the mass found is {mass:.12g}, with an error of {number(allowed, 2)}. If "
            "the log-density is not normalised, pass renormalise=True; if it is, a part of its mass was not found: "
            "name points near it in breaks."
        )


def _check_reach(integrand: Integrand, nodes: Nodes) -> None:
    """Refuse to answer where what matters is so far out that the points there are no longer told apart."""
    if not integrand.space.reach:
        return
    beyond = np.any(np.abs(nodes.at) > integrand.space.reach, axis=1)
    for t in (0.0, *integrand.t) if np.any(beyond) else ():
        score = nodes.log_mass + (t * nodes.reward if t > 0 else 0.0)
        share = np.exp(log_sum(score[beyond]) - log_sum(score))
        if share > _HIDDEN:
            at = "the reference" if t == 0 else f"the tilt at beta {number(1 / t)}"
            raise InputError(
                f"what matters must be at points that floats can tell apart; {share:.1%} of {at} is where a share is "
                "below the smallest float. Choose a larger beta, or take the law from tiltz.laws."
            )


def _known(integrand: Integrand, tails: Tails, nodes: Nodes, betas: Floats) -> KnownIntegral:
    """Return the sums over nodes at the betas where Z is finite, and the reasons at the others."""
    outcomes = Outcomes.complete(
        nodes.log_mass - log_sum(nodes.log_mass), nodes.reward, renormalise=True, source=nodes.at
    )
    finite = ~tails.infinite
    curves: dict[str, Any] = {name: np.full((1, len(betas)), value) for name, value in _INFINITE.items()}
    error = np.zeros(len(betas))
    if np.any(finite):
        reduced = reduce_groups(outcomes.columns(), betas[None, finite], moments=True)
        for name, values in curves.items():
            values[:, finite] = getattr(reduced, name)
        with np.errstate(invalid="ignore"):
            rounding = 8 * _EPS * np.abs(curves["log_z"][0, finite])
        error[finite] = nodes.error + nodes.mass_error + rounding
        if _mean_is_infinite(integrand):
            curves["kl_reverse"][:, finite] = np.inf
    exact = (error <= _EXACT) & (tails.infinite | (not nodes.statistical))
    at = integrand.space.embed(nodes.at)
    return KnownIntegral.of(
        beta=betas,
        **curves,
        error=error[None, :],
        beta_min=tails.beta_min,
        reason=np.array([tails.reason], dtype=object),
        kind=np.where(exact, "exact", "approximate").astype(object)[None, :],
        n=len(nodes.reward),
        notes=_notes(error[finite], integrand, nodes),
        outcomes=outcomes,
        at=at,
        n_evaluations=nodes.n_evaluations,
    )


_INFINITE = {
    "log_z": np.inf,
    "soft_value": np.inf,
    "mean_reward": np.nan,
    "kl": np.nan,
    "kl_reverse": np.nan,
}


def _notes(error: Floats, integrand: Integrand, nodes: Nodes) -> list[str]:
    if nodes.statistical:
        return [
            "The error is that of 16 independent scrambles of quasi-random points, and holds with a probability of "
            "about 99.9%, if they met every mode."
        ]
    if np.any(error > _EXACT):
        return [
            f"The tolerance of {number(integrand.tolerance)} was not reached with {nodes.n_evaluations:,} evaluations; "
            "the error says what was. Name kinks and steps of the reward in breaks, or raise max_evaluations."
        ]
    return []
