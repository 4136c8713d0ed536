"""The log of the tilted density in unbounded coordinates, and a pool of points at every scale where it is known."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree
from scipy.stats import qmc

from tiltz.known.integrals.integrand import Integrand
from tiltz.known.integrals.volume.charts import Chart, unbounded_chart

Floats = npt.NDArray[np.float64]

_MOST_NAMED = 32
_FARTHEST = 24  # doublings of the spread at which maxima are looked for: 1e7 standard deviations
_HIGHEST = 1e290


def tilted(base: Floats, reward: Floats, t: float, level: float) -> Floats:
    """Return base + t (reward - level), in nats; ``-inf`` wherever either part is."""
    with np.errstate(over="ignore", invalid="ignore"):
        gain = np.clip(t * (reward - level), -_HIGHEST, _HIGHEST) if t > 0 else np.zeros_like(base)
    return np.where((reward > -np.inf) | (t == 0), base + gain, -np.inf)


@dataclass(slots=True, kw_only=True)
class Landscape:
    """Log-density with respect to unbounded coordinates, and reward, with what would be no number left out.

    Attributes
    ----------
    integrand : Integrand
        Density and reward.
    chart : Chart
        From all of R^d onto the domain.
    centre, spread : array, shape (d,)
        Where the reference is, and how wide, in unbounded coordinates.
    n_evaluations : int
        So far.
    """

    integrand: Integrand
    chart: Chart
    centre: Floats
    spread: Floats
    n_evaluations: int = 0

    @classmethod
    def of(cls, integrand: Integrand) -> Landscape:
        """Return the landscape; a function that fails where the reference is refused here."""
        space = integrand.space
        chart = unbounded_chart(space.sides)
        near = known_places(integrand)
        integrand.log_density_at(near)
        integrand.reward_at(near)
        v = chart.find(near)
        centre = np.median(v, axis=0)
        spread = np.std(v, axis=0) if len(v) > 1 else np.ones(len(centre))
        spread = np.where(spread > 0, spread, np.maximum(1.0, np.abs(centre)))
        return cls(integrand=integrand, chart=chart, centre=centre, spread=spread, n_evaluations=len(near))

    def values(self, v: Floats) -> tuple[Floats, Floats]:
        """Return log-densities and rewards at unbounded coordinates, shapes (m,); ``-inf`` for what is no number."""
        y, log_volume = self.chart.points(v)
        self.n_evaluations += len(v)
        base = self.integrand.raw_log_density_at(y) + log_volume
        reward = self.integrand.raw_reward_at(y)
        base = np.where(np.isfinite(base), base, -np.inf)
        return base, np.where(np.isfinite(reward), reward, -np.inf)

    def level(self, places: list[Floats]) -> float:
        """Return the highest finite reward at some places, 0 if there is none."""
        reward = self.values(np.array(places))[1]
        highest = float(np.max(reward, initial=-np.inf))
        return highest if np.isfinite(highest) else 0.0


def known_places(integrand: Integrand) -> Floats:
    """Return coordinates where the reference has mass, as far as the space tells, shape (m, d)."""
    space = integrand.space
    places = [np.asarray(space.near, dtype=np.float64).reshape(-1, len(space.sides))]
    if space.sample is not None:
        uniforms = qmc.Sobol(len(space.sides), rng=np.random.default_rng(0)).random(1024)
        places.append(space.sample(uniforms))
    found = np.concatenate(places)
    low, high = np.array(space.sides).T
    inside = np.all((found > low) & (found < high), axis=1)
    return (
        found[inside] if np.any(inside) else unbounded_chart(space.sides).points(np.zeros((1, len(low))))[0]
    )


def named_places(integrand: Integrand) -> Floats:
    """Return the points whose every coordinate is a named break, the first ones if they are many, shape (m, d)."""
    if any(len(breaks) == 0 for breaks in integrand.breaks):
        return np.empty((0, len(integrand.space.sides)))
    return np.array(list(itertools.islice(itertools.product(*integrand.breaks), _MOST_NAMED)))


@dataclass(slots=True, kw_only=True)
class Pool:
    """Points at every scale around the reference, with their neighbours.

    Attributes
    ----------
    v : array, shape (m, d)
        Unbounded coordinates.
    base, reward : array, shape (m,)
        Log-density and reward there.
    neighbours : int array, shape (m, k)
        Of each point, itself included.
    distance : array, shape (m,)
        From the middle of the reference, in units of its spread.
    """

    v: Floats
    base: Floats
    reward: Floats
    neighbours: npt.NDArray[np.int64] = field(repr=False)
    distance: Floats

    @classmethod
    def of(cls, landscape: Landscape) -> Pool:
        """Draw the pool, always the same."""
        v = np.concatenate([landscape.chart.find(known_places(landscape.integrand)), *_shells(landscape)])
        base, reward = landscape.values(v)
        possible = base > -np.inf
        v, base, reward = v[possible], base[possible], reward[possible]
        squeezed = np.arcsinh((v - landscape.centre) / landscape.spread)
        k = min(len(v), 4 * v.shape[1] + 4)
        neighbours = (
            KDTree(squeezed).query(squeezed, k=k)[1].reshape(len(v), k) if len(v) else np.empty((0, 1), int)
        )
        distance = np.linalg.norm((v - landscape.centre) / landscape.spread, axis=1)
        return cls(v=v, base=base, reward=reward, neighbours=neighbours, distance=distance)

    def summits(self, t: float, most: int) -> Floats:
        """Return points that no neighbour tops, shape (at most 2 ``most``, d).

        The highest ones, and the highest of every octave of distance: near the middle many points top their neighbours
        by chance, and would hide a mode further out.
        """
        if len(self.v) == 0:
            return self.v
        level = float(np.max(self.reward))
        height = tilted(self.base, self.reward, t, level if np.isfinite(level) else 0.0)
        top = (height > -np.inf) & (height >= np.max(height[self.neighbours], axis=1))
        order = np.argsort(-np.where(top, height, -np.inf), kind="stable")[: int(np.sum(top))]
        octave = np.floor(np.log2(np.maximum(self.distance[order], 1.0)))
        _, first = np.unique(octave, return_index=True)
        order = np.concatenate([order[:most], order[np.sort(first)][:most]])
        return self.v[np.unique(order)]


def _shells(landscape: Landscape) -> list[Floats]:
    """Return Gaussian clouds of doubling width, uniform points of bounded sides, and the axes at doubling distances."""
    d = len(landscape.centre)
    rng = np.random.default_rng(1)
    centre, spread = landscape.centre, landscape.spread
    places = landscape.chart.find(known_places(landscape.integrand))
    clouds = []
    for j in range(-2, _FARTHEST):
        n = 256 if j < 6 else 64
        start = places[rng.integers(len(places), size=n)] if j < 3 else centre
        clouds.append(start + spread * 2.0**j * rng.standard_normal((n, d)))
    steps = 2.0 ** np.arange(-1, _FARTHEST)
    for i in range(min(d, 16)):
        ray = np.zeros((len(steps), d))
        ray[:, i] = steps * spread[i]
        clouds += [centre + ray, centre - ray]
    bounded = [i for i, side in enumerate(landscape.integrand.space.sides) if np.all(np.isfinite(side))]
    if bounded:
        uniform = rng.uniform(size=(2048, len(bounded)))
        cloud = places[rng.integers(len(places), size=2048)].copy()
        cloud[:, bounded] = np.log(uniform) - np.log1p(-uniform)
        clouds.append(cloud)
    return clouds
