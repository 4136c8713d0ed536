"""What is integrated: a log-density and a reward over a box of coordinates, and the nodes that a rule returns."""

from __future__ import annotations

import warnings
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

    @property
    def tilts(self) -> Floats:
        """Return 0 and the tilts that are wanted."""
        return np.concatenate([[0.0], self.t])

    def log_density_at(self, at: Floats) -> Floats:
        """Return log-densities at coordinates of shape (m, d), checked; ``+inf`` (a singularity) is left in."""
        values = self.raw_log_density_at(at)
        _refuse(np.isnan(values), values, at, "log-density must be a number or infinite, never NaN")
        return values

    def reward_at(self, at: Floats, *, poles: bool = False) -> Floats:
        """Return rewards at coordinates of shape (m, d), checked; ``+inf`` may be left in."""
        values = self.raw_reward_at(at)
        _refuse(
            np.isnan(values) | ((values == np.inf) & (not poles)),
            values,
            at,
            "reward must be a number or -inf",
        )
        return values

    def raw_log_density_at(self, at: Floats) -> Floats:
        """Return log-densities at coordinates so far out that they may be no numbers."""
        return _values(self.space.log_density, at, "log-density")

    def raw_reward_at(self, at: Floats) -> Floats:
        """Return rewards at coordinates so far out that they may be no numbers."""
        return _values(self.reward, self.space.embed(at), "reward")


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
    everywhere : bool
        Whether the nodes are the whole domain.
    """

    log_mass: Floats
    reward: Floats
    error: Floats
    mass_error: float
    at: Floats
    n_evaluations: int
    statistical: bool = False
    everywhere: bool = False

    @property
    def worst(self) -> float:
        """Return the largest of all errors."""
        return max(self.mass_error, float(np.max(self.error, initial=0.0)))


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


def tilted(log_mass: Floats, reward: Floats, t: float) -> Floats:
    """Return ``log_mass + t * reward``; at t = 0 a reward of ``-inf`` has its mass."""
    return log_mass + t * reward if t > 0 else log_mass


def _values(function: Points, points: Floats, name: str) -> Floats:
    """Return what the user's function gives, one number per point, or refuse it."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            values = np.asarray(function(points))
        except Exception as reason:
            raise InputError(
                f"{name} must be a vectorised function: it gets points of shape {points.shape} and returns as many "
                f"numbers as there are points; it raised {type(reason).__name__}: {reason}"
            ) from reason
    if values.shape != (len(points),) or values.dtype.kind not in "biuf":
        raise InputError(
            f"{name} must return one real number for each point, shape ({len(points)},) for points of shape "
            f"{points.shape}; found shape {values.shape} of {values.dtype}."
        )
    return values.astype(np.float64)


def _refuse(wrong: npt.NDArray[np.bool_], values: Floats, at: Floats, what: str) -> None:
    if np.any(wrong):
        first = int(np.argmax(wrong))
        where = ", ".join(f"{x:.6g}" for x in np.atleast_1d(at[first]))
        raise InputError(f"{what}, everywhere in the domain; found {values[first]:g} at ({where}).")
