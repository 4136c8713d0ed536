"""Sums over integers: exact where they are few, by a rule on blocks of integers where they are many."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import Integrand, Nodes, tilted
from tiltz.known.integrals.line.assemble import nodes_from
from tiltz.known.integrals.line.integer_blocks import EXACT, LATTICE
from tiltz.known.integrals.line.locate import modes_of, scan_domain, show_modes
from tiltz.known.integrals.line.panels import Panels
from tiltz.known.integrals.line.rays import Ray, continued, rays_of
from tiltz.known.integrals.line.refine import refine
from tiltz.known.log_sum import log_sum

Floats = npt.NDArray[np.float64]


_AT_ONCE = 1 << 25  # integers times tilts in memory
_EPS = float(np.finfo(float).eps)


@np.errstate(all="ignore")
def lattice_nodes(integrand: Integrand) -> Nodes:
    """Return nodes for every sum over the integers of a domain.

    Parameters
    ----------
    integrand : Integrand
        Over one integer coordinate, with Z finite at every t.

    Returns
    -------
    Nodes
        Every integer where the terms change fast; elsewhere few integers stand for a block.

    Raises
    ------
    InputError
        If a function is not a number somewhere in the domain, or probabilities that underflow hide part of Z.

    Notes
    -----
    A domain that fits into memory is summed integer by integer. Else blocks double away from the middle; those of 32
    integers or fewer are summed one by one, larger ones by few of their integers, so a reward must not jump about from
    one to the next there. Towards infinity blocks are followed to 1e307, and what lies beyond is a power law.

    Examples
    --------
    >>> from scipy.stats import poisson
    >>> from tiltz.known.integrals.integrand import Space
    >>> space = Space(log_density=lambda y: poisson.logpmf(y[:, 0], 3.0), sides=((0.0, np.inf),),
    ...               embed=lambda y: y[:, 0], near=np.array([[1.0], [3.0], [5.0]]), discrete=True)
    >>> nodes = lattice_nodes(Integrand(space=space, reward=lambda y: y, t=np.array([1.0])))
    >>> round(float(np.logaddexp.reduce(nodes.log_mass + nodes.reward) / (3 * np.expm1(1.0))), 12)
    1.0
    """
    low, high = integrand.space.sides[0]
    if (high - low + 1) * len(integrand.tilts) <= min(_AT_ONCE, integrand.max_evaluations):
        return _all_nodes(integrand, np.arange(low, high + 1))
    rays = rays_of(integrand)
    integrand = continued(integrand, rays)
    reach = {ray.end: float(ray.at[-1]) for ray in rays}
    scan = scan_domain(integrand, rays, (reach.get(low, low), reach.get(high, high)))
    middle = float(np.clip(np.rint(scan.middle), low, high))
    below = _blocks(middle - 1, -1.0, middle - reach.get(low, low), whole=low in reach)
    above = _blocks(middle, 1.0, reach.get(high, high) - middle + 1, whole=high in reach)
    panels = show_modes(Panels.join([below, above]), *modes_of(integrand, scan), _may_halve)
    refined = refine(integrand, LATTICE, panels, may_halve=_may_halve)
    return nodes_from(integrand, refined, [_trimmed(ray, below, above) for ray in rays])


def _all_nodes(integrand: Integrand, at: Floats) -> Nodes:
    """Return every integer as a node."""
    log_mass = integrand.log_density_at(at[:, None])
    present = log_mass > -np.inf
    at, log_mass = at[present], log_mass[present]
    reward = integrand.reward_at(at[:, None])
    with np.errstate(invalid="ignore"):
        size = [2 + np.abs(log_mass) + (t * np.abs(reward) if t > 0 else 0.0) for t in integrand.tilts]
    scores = [tilted(log_mass, reward, t) for t in integrand.tilts]
    shares = [np.exp(score - log_sum(score)) for score in scores]
    error = _EPS * np.array([np.sum(np.where(a > 0, a * b, 0.0)) for a, b in zip(shares, size, strict=True)])
    return Nodes(
        log_mass=log_mass,
        reward=reward,
        error=np.where(np.isnan(error), 0.0, error)[1:],
        mass_error=float(error[0]),
        at=at[:, None],
        n_evaluations=len(at),
        everywhere=True,
    )


def _blocks(anchor: float, sign: float, n: float, *, whole: bool) -> Panels:
    """Return blocks of n integers, of which the last may be left out if there are more beyond anyway."""
    edges, size = [0.0], float(EXACT)
    while edges[-1] + size <= n:
        edges.append(edges[-1] + size)
        size = edges[-1]
    while not whole and edges[-1] < n:
        size = 2.0 ** np.floor(np.log2(n - edges[-1]))
        edges.append(edges[-1] + size)
    return Panels.between(anchor, sign, np.array(edges))


def _trimmed(ray: Ray, below: Panels, above: Panels) -> Ray:
    """Return the part of a ray that the blocks cover."""
    blocks = above if ray.sign > 0 else below
    last = abs(float(blocks.anchor[-1] + blocks.sign[-1] * blocks.high[-1]))
    return ray.first(max(int(np.searchsorted(np.abs(ray.at), last, side="right")), 2))


def _may_halve(panels: Panels) -> npt.NDArray[np.bool_]:
    return panels.high - panels.low > EXACT
