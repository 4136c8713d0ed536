"""Integrals over a line, a half-line or an interval: adaptive panels around every mode, until nothing is left."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import Integrand, Nodes
from tiltz.known.integrals.line.assemble import nodes_from
from tiltz.known.integrals.line.locate import Scan, modes_of, scan_domain, show_modes
from tiltz.known.integrals.line.panels import LINE, Panels
from tiltz.known.integrals.line.rays import Ray, continued, rays_of
from tiltz.known.integrals.line.refine import refine

Floats = npt.NDArray[np.float64]

_FIRST = 1 / 16  # of the scale of the reference: the innermost panel of a line
_ROUNDING = 1e-12  # of the scale: a middle so near 0 is 0, where floats are finest
_ROUNDINGS = 64  # a panel is at least this many times as wide as its coordinates are apart


@np.errstate(all="ignore")
def line_nodes(integrand: Integrand) -> Nodes:
    """Return nodes for every integral over one real coordinate.

    Parameters
    ----------
    integrand : Integrand
        In one dimension, with Z finite at every t: see :func:`tiltz.known.integrals.line.tails.tails_of`.

    Returns
    -------
    Nodes
        Of Kronrod's rule with 21 points on adaptive panels. The errors hold in practice: they are four times the
        difference to Gauss's rule, the rounding of the integrand, and what was estimated beyond the panels.

    Raises
    ------
    InputError
        If a function is not a number somewhere in the domain, or a density that underflows hides part of Z.

    Notes
    -----
    Panels double away from the middle and from ends, so that power laws are smooth in each. Next to an end other
    than 0, offsets from it are exact while coordinates are rounded; values are taken to the exact offsets.

    References
    ----------
    .. [1] R. Piessens et al., *QUADPACK*, Springer 1983.

    Examples
    --------
    >>> from scipy.stats import norm
    >>> from tiltz.known.integrals.integrand import Space
    >>> space = Space(log_density=lambda y: norm.logpdf(y[:, 0]), sides=((-np.inf, np.inf),),
    ...               embed=lambda y: y[:, 0], near=norm.ppf([[0.1], [0.5], [0.9]]))
    >>> nodes = line_nodes(Integrand(space=space, reward=lambda y: y, t=np.array([2.0])))
    >>> round(float(np.logaddexp.reduce(nodes.log_mass + 2.0 * nodes.reward)), 12)
    2.0
    """
    rays = rays_of(integrand)
    integrand = continued(integrand, rays)
    low, high = float(rays[0].at[-1]), float(rays[1].at[-1])
    scan = scan_domain(integrand, rays, (low, high))
    breaks = np.concatenate([*integrand.breaks, np.array([])])
    middle = 0.0 if abs(scan.middle) < _ROUNDING * scan.scale else scan.middle
    middle = float(np.clip(middle, low, high))
    halves = [_half(ray, middle, scan, breaks) for ray in rays]
    panels = show_modes(Panels.join(halves), *modes_of(integrand, scan), _may_halve)
    refined = refine(integrand, LINE, panels, may_halve=_may_halve)
    return nodes_from(integrand, refined, rays)


def _half(ray: Ray, middle: float, scan: Scan, breaks: Floats) -> Panels:
    """Return panels between the middle and one end, doubling away from the end or, where it is infinite, the middle."""
    far = np.isinf(ray.end)
    anchor = middle if far else ray.end
    last = abs(float(ray.at[-1]) - anchor) if far else abs(middle - anchor)
    first = min(_FIRST * scan.scale, last / 2) if far else abs(float(ray.at[-1]) - anchor)
    n_doublings = max(np.ceil(np.log2(last) - np.log2(first)), 1)
    edges = np.minimum(first * np.exp2(np.arange(0, n_doublings)), last)
    inside = (breaks - anchor) * ray.sign
    inside = inside[(inside > edges[0]) & (inside < last)]
    inner = [0.0] if far else []
    return Panels.between(anchor, ray.sign, np.unique(np.concatenate([inner, edges, inside, [last]])))


def _may_halve(panels: Panels) -> npt.NDArray[np.bool_]:
    low, high = panels.ends()
    apart = np.spacing(np.maximum(np.maximum(np.abs(low), np.abs(high)), np.abs(panels.anchor)))
    return panels.high - panels.low > _ROUNDINGS * apart
