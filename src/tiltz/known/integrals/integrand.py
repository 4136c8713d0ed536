"""What is integrated: a log-density and a reward over a box of coordinates, and the nodes that a rule returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError

Floats = npt.NDArray[np.float64]
Points = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A reference density over a box of coordinates.

    Attributes
    ----------
    log_density : callable
        Coordinates of shape (m, d) to log-densities of shape (m,), in nats, with respect to the volume of the
        coordinates: on a sphere it includes the Jacobian.
    sides : tuple of (float, float)
        Lowest and highest of each coordinate, infinite where there is no bound.
    embed : callable
        Coordinates of shape (m, d) to what the reward receives, such as shape (m,) for one dimension.
    near : array, shape (k, d)
        Coordinates near which mass of the reference is known to lie, such as quantiles; may be empty.
    discrete : bool
        Whether the only coordinate is an integer and ``log_density`` a log-probability.
    tails : tuple of callables or None
        For one dimension, where they are known: the reference's own ``cdf`` and ``sf``, with which mass can be found
        that lies too close to an end of the domain for coordinates to tell it apart.
    sample : callable or None
        Draws coordinates from the reference by inversion: uniforms of shape (m, d) to coordinates of shape (m, d).
    reach : tuple of float, or empty
        Size of each coordinate beyond which ``embed`` no longer tells points apart; empty if there is no such size.
    """

    log_density: Points
    sides: tuple[tuple[float, float], ...]
    embed: Points
    near: Floats
    discrete: bool = False
    tails: tuple[Points, Points] | None = None
    sample: Points | None = None
    reach: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrand:
    """A density and a reward over the same coordinates, and the tilts that are wanted.

    Attributes
    ----------
    space : Space
        The reference.
    reward : callable
        What the user gave: embedded points to rewards of shape (m,).
    t : array, shape (n_betas,)
        1 / beta; 0 (the reference itself) is not listed.
    breaks : tuple of arrays
        Per coordinate, ascending: where the reward may have a kink or a step, inside the sides.
    tolerance : float
        Error of log Z to aim at, in nats.
    max_evaluations : int
        Points at which the reward may be evaluated.
    """

    space: Space
    reward: Points
    t: Floats
    breaks: tuple[Floats, ...] = field(default=())
    tolerance: float = 1e-11
    max_evaluations: int = 20_000_000

    def log_density_at(self, at: Floats) -> Floats:
        """Return log-densities at coordinates of shape (m, d), checked; ``+inf`` (a singularity) is left in."""
        return _checked(self.space.log_density, at, at, "log-density", allow_plus_inf=True)

    def reward_at(self, at: Floats) -> Floats:
        """Return rewards at coordinates of shape (m, d), checked."""
        return _checked(self.reward, self.space.embed(at), at, "reward", allow_plus_inf=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """A rule: nodes with log-masses of the reference, for which every integral is a sum.

    Attributes
    ----------
    log_mass : array, shape (n_nodes,)
        Log of reference density times weight, in nats; all weights are positive.
    reward : array, shape (n_nodes,)
        Rewards at the nodes.
    error : array, shape (n_betas,)
        Bound on the error of log Z = log sum exp(log_mass + t reward), per t, in nats.
    mass_error : float
        Bound on the error of the total mass, sum exp(log_mass).
    at : array, shape (n_nodes, d)
        Coordinates of the nodes.
    n_evaluations : int
        Points at which the reward was evaluated.
    statistical : bool
        Whether the errors come from replication, and hold with a probability.
    """

    log_mass: Floats
    reward: Floats
    error: Floats
    mass_error: float
    at: Floats
    n_evaluations: int
    statistical: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tails:
    """Whether Z is finite, as far as the unbounded directions tell.

    Attributes
    ----------
    infinite : bool array, shape (n_betas,)
        Whether Z is infinite at each t.
    reason : tuple of str
        Per t: why Z is infinite, empty where it is finite.
    beta_min : float
        Z is infinite at and below this beta: 0 if it never is, ``inf`` if it always is, NaN if it was not found.
    """

    infinite: npt.NDArray[np.bool_]
    reason: tuple[str, ...]
    beta_min: float


def _checked(function: Points, points: Floats, at: Floats, name: str, *, allow_plus_inf: bool) -> Floats:
    """Return finite values or ``-inf``, one per point, or refuse what the user's function gave."""
    with np.errstate(all="ignore"):
        try:
            values = np.asarray(function(points), dtype=np.float64)
        except (TypeError, ValueError) as reason:
            raise InputError(
                f"{name} must be a vectorised function: it gets points of shape {points.shape} and returns "
                f"{len(points)} numbers; it raised {type(reason).__name__}: {reason}"
            ) from reason
    if values.shape != (len(points),):
        raise InputError(
            f"{name} must return one number for each point, shape ({len(points)},) for points of shape "
            f"{points.shape}; found shape {values.shape}."
        )
    wrong = np.isnan(values) | ((values == np.inf) & (not allow_plus_inf))
    if np.any(wrong):
        first = int(np.argmax(wrong))
        what = "a number or -inf" if not allow_plus_inf else "a number, never NaN"
        where = ", ".join(f"{x:.6g}" for x in np.atleast_1d(at[first]))
        raise InputError(
            f"{name} must be {what} everywhere in the domain; found {values[first]:g} at ({where})."
        )
    return values
