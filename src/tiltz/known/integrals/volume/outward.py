"""Rays from where the reference is to infinity, and how log-density and reward go along them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import Integrand
from tiltz.known.integrals.volume.landscape import Landscape

Floats = npt.NDArray[np.float64]

_OCTAVES = 320  # doublings of the distance: 1e96, whose square is a float
_TO_END = {
    True: 900,
    False: 36,
}  # halvings of the distance to an end at 0, and to another, that floats can tell apart
_STEP = 8  # octaves from one look to the next
_NEAR_LOOKS = (1.0, 0.9, 0.8)  # shares of the octaves, where there are few
_FEWEST = 24  # octaves from which nothing can be concluded
_STEADY = (
    1.15  # a critical tilt that moves by more from one half of the octaves to the next goes to 0 or infinity
)
_GROWTH = 0.5  # of the spread of the inner half: a periodic reward grows by less
_MIDDLE, _NEAR_END = 0.5, 1e-9  # shares of a coordinate's range
_FEW_BOUNDED = 3
_LITTLE = (2, 4, 8, 16, 32)
_RANDOM = 64
_POWER = 1e4  # nats: a density that falls by more is no power, and the volume around a ray does not matter
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rays:
    """Directions among the unbounded coordinates, in units of the reference's spread.

    Attributes
    ----------
    landscape : Landscape
        Density and reward.
    centre, spread : array, shape (d,)
        Where rays begin, in coordinates, and their unit; 0 for a bounded coordinate.
    signs : array, shape (d, 2)
        Whether a coordinate may go down, and up, without end.
    directions : array, shape (n, d)
        Of unit length; empty if every coordinate is bounded.
    """

    landscape: Landscape
    centre: Floats
    spread: Floats
    signs: npt.NDArray[np.bool_]
    directions: Floats

    @classmethod
    def of(cls, landscape: Landscape) -> Rays:
        """Return axes, diagonals and random directions."""
        sides = np.array(landscape.integrand.space.sides)
        signs = np.isinf(sides)
        centre = landscape.chart.points(landscape.centre[None, :])[0][0]
        scale = landscape.spread * landscape.chart.slopes(landscape.centre[None, :])[0]
        rays = cls(
            landscape=landscape,
            centre=centre,
            spread=np.where(signs.any(axis=1), scale, 0.0),
            signs=signs,
            directions=np.empty((0, len(centre))),
        )
        free = np.flatnonzero(signs.any(axis=1))
        if len(free) == 0:
            return rays
        unit = np.eye(len(free))
        if landscape.integrand.space.reach:
            return replace(rays, directions=rays._all_admissible(np.concatenate([unit, -unit])))
        some = _candidates(len(free))
        # Also the diagonals of the coordinates themselves, where rewards like to have their kinks, and directions that
        # leave an axis by ever less, where a curve is what counts. A power law is wide enough not to need them.
        finer = rays._all_admissible(np.concatenate([some / rays.spread[free], _nearly(unit)]))
        sharp = np.array([not rays.is_power(direction) for direction in finer], dtype=bool)
        return replace(rays, directions=np.concatenate([rays._all_admissible(some), finer[sharp]]))

    def _all_admissible(self, among_free: Floats) -> Floats:
        """Return the different directions that are left of some among the coordinates without end."""
        every = np.zeros((len(among_free), len(self.centre)))
        every[:, self.spread > 0] = among_free
        made = np.array([self.admissible(direction) for direction in every])
        return np.unique(made[np.any(made != 0, axis=1)].round(15), axis=0)

    @property
    def integrand(self) -> Integrand:
        """Return density and reward."""
        return self.landscape.integrand

    def admissible(self, direction: Floats) -> Floats:
        """Return the nearest direction in which the domain has no end, of unit length, or zeros."""
        direction = np.where(self.signs[:, 0] | (direction > 0), direction, 0.0)
        direction = np.where(self.signs[:, 1] | (direction < 0), direction, 0.0)
        size = float(np.linalg.norm(direction))
        return direction / size if size > 0 else direction

    def in_space(self, direction: Floats) -> Floats:
        """Return a direction in coordinates, of unit length."""
        moved = direction * self.spread
        return moved / np.linalg.norm(moved)

    def critical(self, directions: Floats) -> Floats:
        """Return the least t at which the integral along each ray is infinite, ``inf`` if at none, NaN if unknown."""
        share = np.linspace(0.0, 1.0, _OCTAVES // _STEP + 1)
        octaves = self.farthest(directions)[:, None] * share
        found = []
        for rays in self._stations():
            density, reward = rays._along(directions, octaves)
            lines = zip(directions, octaves, density, reward, strict=True)
            found.append([rays._critical(*line) for line in lines])
        every = np.array(found)
        known = np.where(np.isnan(every), np.inf, every).min(axis=0)
        return np.where(np.any(np.isnan(every), axis=0) & np.isinf(known), np.nan, known)

    def _stations(self) -> Iterator[Rays]:
        """Yield these rays with every coordinate that has both ends in its middle and next to its ends."""
        bounded = np.flatnonzero(self.spread == 0)
        places = [(_MIDDLE,), (_NEAR_END,), (1 - _NEAR_END,)]
        combined = (
            product(*[[p for (p,) in places]] * len(bounded)) if len(bounded) <= _FEW_BOUNDED else places
        )
        sides = np.array(self.integrand.space.sides)[bounded]
        for share in combined:
            centre = self.centre.copy()
            if share != (_MIDDLE,) * len(share):
                centre[bounded] = sides[:, 0] + np.array(share) * (sides[:, 1] - sides[:, 0])
            yield replace(self, centre=centre)

    def farthest(self, directions: Floats) -> Floats:
        """Return how many doublings of the distance there are along each direction, before points are one to floats."""
        reach = self.integrand.space.reach
        if not reach:
            return np.full(len(directions), float(_OCTAVES))
        with np.errstate(divide="ignore"):
            distance = (reach - np.abs(self.centre)) / np.abs(directions * self.spread)
        return np.clip(np.log2(distance.min(axis=1)), 1.0, _OCTAVES)

    def _critical(self, direction: Floats, octaves: Floats, density: Floats, reward: Floats) -> float:
        # Both overflow, or a function has no value: what is further out is not known.
        unknown = (
            np.isnan(density)
            | np.isnan(reward)
            | (density == np.inf)
            | ((reward == np.inf) & (density == -np.inf))
        )
        last = int(np.argmax(unknown)) - 1 if np.any(unknown) else len(octaves) - 1
        if np.any(reward[: last + 1] == np.inf):
            return 0.0
        near = octaves[-1] < _OCTAVES
        if last < 0 or (octaves[last] < _FEWEST and not near):
            return np.nan
        if density[last] == -np.inf or reward[last] == -np.inf:
            return np.inf
        at = (last * np.array(_NEAR_LOOKS)).astype(int) if near else last // np.array([1, 2, 4])
        if not np.all(np.isfinite(density[at]) & np.isfinite(reward[at])):
            return np.nan
        if not _grows(reward[: last + 1]):
            return np.inf
        if near:  # The fall is exponential: volumes do not matter in the end, but would so near.
            least = _limit(density[at], reward[at])
            # A reward that bends upwards so near tells nothing while it gains less than the density falls.
            outweighs = reward[at[0]] - reward[at[1]] > density[at[1]] - density[at[0]]
            return least if least > 0 or outweighs else np.nan
        volume = octaves[at] * np.log(2.0)
        if _is_power(density[at]) and reward[at[0]] > reward[at[1]]:
            volume = volume + np.array([self._log_width(direction, float(octaves[k])) for k in at])
        return _limit(density[at] + volume, reward[at])

    def _log_width(self, direction: Floats, octave: float) -> float:
        """Return the log of the volume across a ray, relative to the density on it."""
        free = np.flatnonzero(self.spread > 0)
        across = np.linalg.svd(direction[None, free])[2][1:]
        offsets = 2.0 ** np.arange(-12, octave + 1.5, 0.5)
        log_width = 0.0
        for side in across:
            turn = np.zeros(len(direction))
            turn[free] = side
            both = np.concatenate([-offsets[::-1], offsets])
            at = self.centre + self.spread * (direction * 2.0**octave + both[:, None] * turn)
            middle = self.integrand.raw_log_density_at(
                (self.centre + self.spread * direction * 2.0**octave)[None, :]
            )[0]
            relative = np.exp(np.minimum(self.integrand.raw_log_density_at(at) - middle, 700.0))
            log_width += float(np.log(np.trapezoid(relative, both)))
        return log_width

    def is_power(self, direction: Floats) -> bool:
        """Return whether the density falls like a power of the distance, for which the angle itself matters little."""
        octaves = np.array([_OCTAVES, _OCTAVES // 2])
        return _is_power(
            self.integrand.raw_log_density_at(self.centre + direction * 2.0 ** octaves[:, None] * self.spread)
        )

    def stays_up(self, direction: Floats, t: float) -> bool:
        """Return whether log-density + t reward + log-volume does not fall, as far out as rounding lets one see."""
        octaves = np.arange(0.0, self.farthest(direction[None, :])[0] + 1e-9)
        density, reward = (line[0] for line in self._along(direction[None, :], octaves[None, :]))
        d = int(np.sum(self.spread > 0))
        height = density + t * reward
        noise = 1e-9 * np.abs(t * reward)  # the direction itself is known to about the root of this
        rise = np.diff(height) + d * np.log(2.0)
        seen = np.isfinite(rise) & (np.abs(rise) > 4 * (noise[1:] + noise[:-1]))
        return bool(rise[np.flatnonzero(seen)[-1]] > 0) if np.any(seen) else True

    def towards_ends(self) -> tuple[int, float]:
        """Return the coordinate whose end makes Z infinite first, counted from 0, and the least t that does."""
        best, least = 0, np.inf
        for i, side in enumerate(self.integrand.space.sides):
            for end, inward in zip(side, (1.0, -1.0), strict=True):
                if np.isfinite(end):
                    value = self._at_end(i, end, inward)
                    best, least = (i, value) if value < least else (best, least)
        return best, least

    def _at_end(self, i: int, end: float, inward: float) -> float:
        octaves = np.arange(0, _TO_END[end == 0.0] + 1, _STEP if end == 0.0 else 3)
        points = np.repeat(self.centre[None, :], len(octaves), axis=0)
        reach = abs(self.centre[i] - end) or 1.0
        points[:, i] = end + inward * reach * 2.0**-octaves
        density, reward = (
            self.integrand.raw_log_density_at(points),
            self.integrand.raw_reward_at(points),
        )
        known = np.isfinite(density) & np.isfinite(reward)
        if not np.all(known):
            return np.inf
        at = (len(octaves) - 1) // np.array([1, 2, 4])
        return _limit(density[at] - octaves[at] * np.log(2.0), reward[at])

    def _along(self, directions: Floats, octaves: Floats) -> tuple[Floats, Floats]:
        offsets = directions[:, None, :] * 2.0 ** octaves[:, :, None] * self.spread
        points = (self.centre + offsets).reshape(-1, len(self.centre))
        shape = octaves.shape
        return self.integrand.raw_log_density_at(points).reshape(shape), self.integrand.raw_reward_at(
            points
        ).reshape(shape)


def _grows(reward: Floats) -> bool:
    """Whether the largest reward of the outer half of a ray is clearly above that of the inner half."""
    inner, outer = (float(np.max(part)) for part in np.array_split(reward, 2))
    return outer - inner > _GROWTH * abs(inner - float(np.median(reward)))


def _is_power(density: Floats) -> bool:
    return abs(density[0] - density[1]) < _POWER


def _candidates(n: int) -> Floats:
    """Return axes, diagonals of all or two of n coordinates, and random directions, shape (n_directions, n)."""
    rng = np.random.default_rng(2)
    signs = (
        np.array(list(product((-1.0, 1.0), repeat=n))) if n <= 6 else rng.choice([-1.0, 1.0], size=(64, n))
    )
    unit = np.eye(n)
    pairs = [unit[i] + s * unit[j] for i in range(min(n, 8)) for j in range(i) for s in (-1, 1)]
    both = np.array(pairs).reshape(-1, n)
    return np.concatenate([unit, -unit, signs, rng.standard_normal((_RANDOM, n)), both, -both])


def _nearly(unit: Floats) -> Floats:
    """Return directions that leave an axis by little towards another one."""
    n = len(unit)
    if not 2 <= n <= 4:
        return np.empty((0, n))
    return np.array(
        [
            along * unit[i] + aside * 2.0**-k * unit[j]
            for i, j in permutations(range(n), 2)
            for along, aside in product((-1, 1), repeat=2)
            for k in _LITTLE
        ]
    )


def _limit(falling: Floats, reward: Floats) -> float:
    """Return minus the change of one over that of the other over the last half of the octaves, as it goes on."""
    change, gain = falling[:2] - falling[1:], reward[:2] - reward[1:]
    size = 64 * _EPS * np.maximum(np.abs(reward[:2]), np.abs(reward[1:]))
    if gain[0] <= size[0]:
        return np.inf
    if change[0] >= 0:
        return 0.0
    # A reward that does not grow steadily has grown by no more than its size.
    grown = gain[1] if gain[1] > size[1] else float(np.max(np.abs(reward[1:])))
    critical = -change / np.array([gain[0], grown or np.nan])
    if not critical[1] > 0:
        return float(critical[0])
    ratio = critical[0] / critical[1]
    if ratio > _STEADY:
        return np.inf
    return 0.0 if ratio < 1 / _STEADY else float(critical[0])
