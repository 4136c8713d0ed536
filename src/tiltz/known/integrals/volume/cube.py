"""Adaptive cubature in two to four dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import Integrand, Nodes, tilted
from tiltz.known.integrals.volume.box_charts import box_chart
from tiltz.known.integrals.volume.boxes import Boxes, first_boxes
from tiltz.known.integrals.volume.gathering import Part, error_of_log, gathered
from tiltz.known.integrals.volume.grid import grid_nodes
from tiltz.known.integrals.volume.landscape import Landscape
from tiltz.known.integrals.volume.measured import Measure, Measured
from tiltz.known.integrals.volume.modes import Mode, find_modes
from tiltz.known.integrals.volume.tensor import TensorRule
from tiltz.known.log_sum import log_sum

Floats = npt.NDArray[np.float64]

_N_INNER = {2: 6, 3: 5, 4: 3}  # of the coarser rule
_ATTAINABLE = {2: 1e-12, 3: 1e-11, 4: 1e-9}  # nats: what a smooth problem reaches in some seconds
_SMALLEST = 64 * float(np.finfo(np.float64).eps)  # relative width of a box that floats still resolve
_NEGLIGIBLE = 1e-3  # of the tolerance
_SPREAD = 10.0  # tolerance of mean squared deviations over that of masses
_FAR, _HEAVY, _IN_TAILS = 20.0, 1e-9, 40.0  # nats of distance, share of Z half-way there, factor on the error
_WORST, _SHARE = (
    0.05,
    0.25,
)  # boxes are halved whose error is so large relative to the worst, and to an even share
_COST = (
    4  # evaluations in one dimension that cost what one does here, where all values are kept until the end
)


def cube_nodes(integrand: Integrand) -> Nodes:
    """Return nodes for two to four dimensions.

    Parameters
    ----------
    integrand : Integrand
        Density and reward over a box with finite or infinite sides.

    Returns
    -------
    Nodes
        ``error`` bounds that of log Z of the unnormalised density.

    Raises
    ------
    InputError
        If a function of the user returns what is no number, or the wrong shape.

    Notes
    -----
    Tensor Lobatto-Kronrod rules on boxes: small ones around the modes of every tilt, growing with the distance. The box
    and axis whose error is largest are halved until all are within tolerance, or the evaluations are used up; the
    error says which. The error is that of the weaker rule, made smaller where both agree well, as QUADPACK does. A kink
    or a step that is not along an axis converges slowly. Domains without ends are covered by further boxes until
    these add nothing, and the last of them bounds the rest.

    References
    ----------
    .. [1] J. Berntsen, T. O. Espelid, A. Genz, "An adaptive algorithm for the approximate calculation of multiple
       integrals", ACM Trans. Math. Softw. 17 (1991), 437-451.
    """
    landscape = Landscape.of(integrand)
    modes = find_modes(landscape)
    d = len(integrand.space.sides)
    tolerance = max(integrand.tolerance, _ATTAINABLE[d])
    grid, converged = grid_nodes(landscape, modes, tolerance)
    if grid is not None and converged:
        return _with_far(integrand, grid)
    nodes = _adaptive(landscape, modes, tolerance)
    return _with_far(integrand, nodes if grid is None or nodes.worst <= grid.worst else grid)


def _with_far(integrand: Integrand, nodes: Nodes) -> Nodes:
    """Add to the errors what lies beyond the last node of a heavy tail.

    Shares beyond a distance fall like a power of it, so that of the last node is read off those half-way there and at
    three quarters, in log distance. In such tails boxes are as wide as they are far away, and the difference of the two
    rules was measured to be up to 32 times too small.
    """
    with np.errstate(divide="ignore"):
        log_distance = np.log(np.max(np.abs(nodes.at), axis=1, initial=0.0))
    reach = float(np.max(log_distance, initial=0.0))
    if reach < _FAR:
        return nodes
    error = nodes.error.copy()
    for k, t in enumerate(integrand.t):
        score = tilted(nodes.log_mass, nodes.reward, t)
        half, most = (
            float(np.exp(log_sum(score[log_distance > share * reach]) - log_sum(score)))
            for share in (0.5, 0.75)
        )
        if half > _HEAVY:
            error[k] = _IN_TAILS * (error[k] + most * most / half)
    return replace(nodes, error=error)


def _adaptive(landscape: Landscape, modes: tuple[Mode, ...], tolerance: float) -> Nodes:
    """Return the nodes of boxes that are halved where the error is."""
    integrand, chart = landscape.integrand, box_chart(landscape, modes)
    d = len(chart.axes)
    measure = Measure(
        integrand=integrand,
        chart=chart,
        rule=TensorRule.of(d, _N_INNER[d]),
        level=landscape.level([mode.at for mode in modes]),
        centre=np.zeros(len(integrand.t) + 1),
        n_evaluations=landscape.n_evaluations,
    )
    state = measure.centred(measure.boxes(first_boxes(landscape, modes, chart)))
    state, rest = _extended(measure, state, tolerance)
    state = _refined(measure, state, tolerance)
    return _gathered(measure, state, rest)


def _extended(measure: Measure, state: Measured, tolerance: float) -> tuple[Measured, Floats]:
    """Return further boxes beyond every side that does not end, and the share of each integral left outside."""
    rest = np.zeros(len(measure.tilts))
    for axis, line in enumerate(measure.chart.axes):
        for side in (0, 1):
            if not line.closed[side]:
                state, left = _extended_along(measure, state, axis, side, tolerance)
                rest += left
    return state, rest


def _extended_along(
    measure: Measure, state: Measured, axis: int, side: int, tolerance: float
) -> tuple[Measured, Floats]:
    """Double the range on one side of one axis until what is added is negligible."""
    limit = measure.chart.axes[axis].limits[side]
    last = np.full(len(measure.tilts), np.inf)
    added = last
    while True:
        low, high = np.min(state.boxes.low[:, axis]), np.max(state.boxes.high[:, axis])
        edge, length = (high, high - low) if side else (low, low - high)
        if edge == limit:
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                ratio = added / last
                return state, np.where(
                    added == 0, 0.0, np.where(ratio < 0.9, added * ratio / (1 - ratio), np.inf)
                )
        end = min(edge + length, limit) if side else max(edge + length, limit)
        outer = state.select((state.boxes.high if side else state.boxes.low)[:, axis] == edge).boxes
        beyond = (outer.low.copy(), outer.high.copy())
        beyond[0][:, axis], beyond[1][:, axis] = min(edge, end), max(edge, end)
        new = measure.boxes(Boxes(low=beyond[0], high=beyond[1]))
        state = Measured.joined([state, new])
        last, added = added, _share(new, state, len(measure.tilts))
        if np.all(added < _NEGLIGIBLE * tolerance):
            return state, added


def _share(part: Measured, whole: Measured, n: int) -> Floats:
    """Return the mass of some boxes with its error over all mass, shape (n_tilts,)."""
    log_part = np.logaddexp(log_sum(part.log_value), log_sum(part.log_error))[:n]
    log_all = whole.log_total()[:n]
    with np.errstate(invalid="ignore"):
        return np.where(log_all > -np.inf, np.exp(log_part - log_all), 0.0)


def _refined(measure: Measure, state: Measured, tolerance: float) -> Measured:
    """Halve boxes until every error is within tolerance, or the evaluations are used up."""
    wanted = np.repeat([tolerance, _SPREAD * tolerance], len(measure.tilts))
    n_nodes = len(measure.rule.node)
    while True:
        shares = state.shares(state.log_total()) / wanted
        if np.all(shares.sum(axis=0) <= 1.0):
            return state
        worst = np.argmax(shares, axis=1)
        score = shares[np.arange(len(worst)), worst]
        axis = state.axis[np.arange(len(worst)), worst]
        score = np.where(_divisible(state.boxes, axis), score, 0.0)
        affordable = (measure.integrand.max_evaluations // _COST - measure.n_evaluations) // (2 * n_nodes)
        order = np.argsort(-score, kind="stable")[: max(affordable, 0)]
        chosen = order[score[order] > max(_WORST * float(np.max(score)), _SHARE / len(score))]
        if len(chosen) == 0:
            return state
        kept = np.ones(len(score), dtype=bool)
        kept[chosen] = False
        halves = state.select(chosen).boxes.halves(axis[chosen])
        state = Measured.joined([state.select(kept), measure.boxes(halves)])


def _divisible(boxes: Boxes, axis: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return whether floats still tell the nodes of each half apart."""
    rows = np.arange(len(axis))
    low, high = boxes.low[rows, axis], boxes.high[rows, axis]
    return high - low > _SMALLEST * np.maximum(np.abs(low), np.abs(high))


def _gathered(measure: Measure, state: Measured, rest: Floats) -> Nodes:
    """Return the nodes of all boxes that carry anything, and the errors."""
    log_total = state.log_total()[: len(measure.tilts)]
    log_mass, reward, at, noise = gathered(_parts(measure, state), measure.tilts, measure.level, log_total)
    error = state.shares(state.log_total())[:, : len(rest)].sum(axis=0) + rest + noise
    return Nodes(
        log_mass=log_mass,
        reward=reward,
        error=error_of_log(error[1:]),
        mass_error=float(error[0] * np.exp(log_total[0])),
        at=at,
        n_evaluations=measure.n_evaluations,
    )


def _parts(measure: Measure, state: Measured) -> Iterator[Part]:
    for chunk in np.unique(state.chunk):
        some = state.select(state.chunk == chunk)
        log_mass, reward, rounding = (
            kept[chunk][some.row].ravel() for kept in (measure.log_mass, measure.reward, measure.rounding)
        )
        w = measure.nodes(some.boxes)[0].reshape(len(log_mass), -1)
        yield Part(
            log_mass=log_mass,
            reward=reward,
            rounding=rounding,
            places=lambda which, w=w: measure.chart.points(w[which])[0],
        )
