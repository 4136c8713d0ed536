"""log Z of a density and a reward: integrated over the entire domain, or infinite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.checks import MASS_TOLERANCE
from tiltz.errors import InputError
from tiltz.inference.request import checked_betas
from tiltz.kernels import reduce_groups
from tiltz.known.integrals.integrand import Integrand, Nodes, Tails, tilted
from tiltz.known.integrals.spaces import space_of
from tiltz.known.log_sum import log_sum
from tiltz.known.result import Known
from tiltz.outcomes import Outcomes
from tiltz.text import number

Floats = npt.NDArray[np.float64]

_MOST_CUBATURE = 4  # dimensions
_EXACT, _ROUNDING = 1e-6, 1e-12  # nats, share of log Z: an error above both is not called exact
_EPS = float(np.finfo(np.float64).eps)
_POOR = 1e-4  # nats: an error of cubature that weighted draws may well improve on
_LOST = 1.0  # nats: with a larger error there is no answer
_RELATIVE = 0.01  # error of a mass that is no mass
_ATTEMPTS = 4
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
        Points at which the reward may be evaluated after the mass was located, which takes some ten thousand. Boxes,
        which keep all values, use a quarter of it, draws at most two million.

    Returns
    -------
    KnownIntegral
        One prompt. ``error`` is the error that was reached, in nats; where it is above 1e-6 (and 1e-12 of log Z) or
        comes from replication, ``kind`` is "approximate". Where Z is infinite ``log_z`` is ``inf``; where its error
        would be more than a nat it is NaN; ``reason`` says why. ``beta_min`` is the critical beta.

    Raises
    ------
    InputError
        If the mass is not 1, a function does not return real numbers, or finite and infinite cannot be told apart.

    Notes
    -----
    The mass of every tilt is located first. In one dimension panels with Kronrod's rule, or blocks of integers, are
    halved until two rules agree; in two to four dimensions shifted grids, where they converge, else boxes; from five
    dimensions on, and where boxes do badly, scrambled Sobol points from a mixture around every mode, with the error of
    16 replications. The error holds in practice: it is the difference of two rules, rounding, and what lies beyond the
    last node, and assumes that every mode was seen. Infinite Z is found by comparing log-density and reward / beta
    towards every end of the domain, as far as floating point reaches, at points of every scale: a reward that
    oscillates without end may hide it. In several dimensions that is done along straight lines.

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
    with np.errstate(all="ignore"):
        tails = _tails(integrand)
        found = _Found.of(integrand, ~tails.infinite, renormalise=renormalise)
        return _known(found, tails, betas)


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


def _breaks(breaks: Any, sides: tuple[tuple[float, float], ...]) -> tuple[Floats, ...]:
    """Return the break points inside every side, ascending; in one dimension a plain list of numbers will do."""
    wanted = (
        f"breaks must be one sequence of numbers for each of the {len(sides)} coordinates, or in one dimension a "
        "sequence of numbers"
    )
    try:
        each = list(breaks)
        if len(sides) == 1 and all(np.ndim(part) == 0 for part in each):
            each = [each]
        checked = [np.ravel(np.asarray(part, dtype=np.float64)) for part in each or [()] * len(sides)]
    except (TypeError, ValueError) as reason:
        raise InputError(f"{wanted}; found {breaks!r:.100}.") from reason
    if len(checked) != len(sides) or any(np.any(np.isnan(part)) for part in checked):
        raise InputError(f"{wanted}; found {breaks!r:.100}.")
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
    from tiltz.known.integrals import line, volume

    return (line if len(integrand.space.sides) == 1 else volume).mean_is_infinite(integrand)


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
    if n_dimensions == 2 or nodes.worst <= _POOR:
        return nodes
    draws = volume.quasi_nodes(integrand)
    return draws if draws.worst < nodes.worst else nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Nodes, the betas that they are for, and log Z there.

    ``kept`` is for each of all betas; ``log_z`` and ``lost``, whether it may be off by a nat, for the kept ones.
    """

    integrand: Integrand
    nodes: Nodes
    kept: npt.NDArray[np.bool_]
    log_z: Floats
    lost: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, integrand: Integrand, finite: npt.NDArray[np.bool_], *, renormalise: bool) -> _Found:
        """Integrate at the betas where Z is finite; at most a few of which may spoil the rest are left out again."""
        kept = finite.copy()
        for attempt in range(_ATTEMPTS):
            found = cls._at(integrand, kept)
            sound = _mass_is_sound(found.nodes, renormalise=renormalise)
            if (sound and not np.any(found.lost)) or not np.any(kept):
                break
            doubtful = np.flatnonzero(kept)[found.lost] if np.any(found.lost) else np.flatnonzero(kept)
            steepest = doubtful[np.argsort(-integrand.t[doubtful])]
            steepest = steepest[: 1 if attempt == 0 else (len(steepest) + 1) // 2]
            kept = kept.copy()
            kept[steepest] = False
        else:
            found = cls._at(integrand, kept)
        _check_mass(integrand, found.nodes, renormalise=renormalise)
        return found

    @classmethod
    def _at(cls, integrand: Integrand, kept: npt.NDArray[np.bool_]) -> _Found:
        integrand = replace(integrand, t=integrand.t[kept])
        nodes = _nodes(integrand)
        scores = [tilted(nodes.log_mass, nodes.reward, t) for t in integrand.t]
        log_z = np.array([log_sum(score) for score in scores])
        nowhere = (log_z == -np.inf) & (not nodes.everywhere)
        nowhere |= _out_of_reach(integrand, nodes)[1:]
        lost = nowhere | ~(nodes.error <= np.maximum(_LOST, _ROUNDING * np.abs(log_z)))
        return cls(integrand=integrand, nodes=nodes, kept=kept, log_z=log_z, lost=lost)


def _mass_is_sound(nodes: Nodes, *, renormalise: bool) -> bool:
    mass = float(np.exp(log_sum(nodes.log_mass)))
    if renormalise:
        return bool(np.isfinite(mass) and mass > 0 and nodes.mass_error < _RELATIVE * mass)
    allowed = MASS_TOLERANCE + nodes.mass_error * (_DOUBT if nodes.statistical else 1.0)
    return abs(mass - 1.0) <= allowed and allowed < _RELATIVE


def _check_mass(integrand: Integrand, nodes: Nodes, *, renormalise: bool) -> None:
    if _mass_is_sound(nodes, renormalise=renormalise):
        return
    mass = float(np.exp(log_sum(nodes.log_mass)))
    found = f"found mass {mass:.12g} with an error of {number(nodes.mass_error, 2)}"
    if renormalise:
        raise InputError(f"the mass of the log-density must be finite and above 0; {found}.")
    if integrand.space.tails is not None or integrand.space.sample is not None:
        raise InputError(
            f"the reference has mass 1, of which a part was not integrated; {found}. It lies where it is too narrow or "
            "too near an end for floats: shift or rescale the distribution, or name points near it in breaks."
        )
    raise InputError(
        f"the reference must have mass 1; {found}. If the log-density is not normalised, pass renormalise=True; if it "
        "is, a part of its mass was not found: name points near it in breaks."
    )


def _out_of_reach(integrand: Integrand, nodes: Nodes) -> npt.NDArray[np.bool_]:
    """Return at which tilts, 0 first, what matters is so far out that the points there are no longer told apart."""
    if not integrand.space.reach:
        return np.zeros(len(integrand.tilts), dtype=bool)
    beyond = np.any(np.abs(nodes.at) > integrand.space.reach, axis=1)
    scores = [tilted(nodes.log_mass, nodes.reward, t) for t in integrand.tilts]
    return np.array([np.exp(log_sum(score[beyond]) - log_sum(score)) > _HIDDEN for score in scores])


def _known(found: _Found, tails: Tails, betas: Floats) -> KnownIntegral:
    """Return the sums over nodes at the betas where they hold, and the reasons at the others."""
    nodes, kept = found.nodes, found.kept
    outcomes = Outcomes.complete(nodes.log_mass - log_sum(nodes.log_mass), nodes.reward, renormalise=True)
    curves: dict[str, Any] = {name: np.full((1, len(betas)), np.nan) for name in _CURVES}
    for name in ("log_z", "soft_value"):
        curves[name][:, tails.infinite] = np.inf
    error = np.where(tails.infinite, 0.0, np.inf)
    reasons = np.array(tails.reason, dtype=object)
    lost = ~tails.infinite & ~kept
    if np.any(kept):
        reduced = reduce_groups(outcomes.columns(), betas[None, kept], moments=True)
        for name, values in curves.items():
            values[:, kept] = getattr(reduced, name)
        error[kept] = nodes.error + nodes.mass_error + 8 * _EPS * np.abs(found.log_z)
        if _mean_is_infinite(found.integrand):
            curves["kl_reverse"][:, kept] = np.inf
        lost[kept] = found.lost
    for values in curves.values():
        values[:, lost] = np.nan
    for i in np.flatnonzero(lost):
        reasons[i] = _lost(betas[i], nodes, seen=bool(np.any(nodes.reward > -np.inf)))
    error[lost] = np.inf
    exact = error <= np.maximum(_EXACT, _ROUNDING * np.abs(curves["log_z"][0]))
    exact = tails.infinite | (exact & (not nodes.statistical))
    return KnownIntegral.of(
        beta=betas,
        **curves,
        error=error[None, :],
        beta_min=tails.beta_min,
        reason=reasons[None, :],
        kind=np.where(exact, "exact", "approximate").astype(object)[None, :],
        n=len(nodes.reward),
        notes=_notes(exact | lost, found.integrand, nodes),
        outcomes=outcomes,
        at=found.integrand.space.embed(nodes.at),
        n_evaluations=nodes.n_evaluations,
    )


_CURVES = ("log_z", "soft_value", "mean_reward", "kl", "kl_reverse")


def _lost(beta: float, nodes: Nodes, *, seen: bool) -> str:
    if not seen:
        return (
            f"log Z was not found at beta {number(beta)}: at all of the {nodes.n_evaluations:,} points that were tried "
            "the reward is -inf; name points where it is not in breaks"
        )
    return (
        f"log Z was not found at beta {number(beta)}: its error would be more than a nat. What matters there is too "
        "narrow for floats, in a tail too heavy to follow, or too close to where Z becomes infinite; choose a larger "
        "beta, or name points near it in breaks"
    )


def _notes(exact: npt.NDArray[np.bool_], integrand: Integrand, nodes: Nodes) -> list[str]:
    if nodes.statistical:
        return [
            "The error is that of 16 independent scrambles of quasi-random points, and holds with a probability of "
            "about 99.9%, if they met every mode."
        ]
    if not np.all(exact):
        return [
            f"The tolerance of {number(integrand.tolerance)} was not reached with {nodes.n_evaluations:,} evaluations; "
            "the error says what was. Name kinks and steps of the reward in breaks, or raise max_evaluations."
        ]
    return []
