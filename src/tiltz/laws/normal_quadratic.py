"""Quadratic rewards of normal variables: distances, energies, control costs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.covariance import covariance, is_diagonal, matrix, root_of, vector
from tiltz.laws.normal_squares import NormalSquares
from tiltz.laws.parameters import number, store
from tiltz.laws.tilting import one_beta

Floats = npt.NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NormalQuadratic(ClosedForm):
    """The reward y'Ay + a'y + c of jointly normal variables y.

    Attributes
    ----------
    loc : array, shape (n_variables,)
        Mean of y; a number where there is one variable.
    cov : array, shape (n_variables, n_variables)
        Covariance of y, positive semi-definite; a number, the variance, where there is one variable.
    quadratic : array, shape (n_variables, n_variables)
        A, of any signs; of one that is not symmetric the reward uses, and this keeps, the symmetric part. A number
        where there is one variable.
    linear : array, shape (n_variables,), optional
        a; none means 0.
    constant : float
        c.

    Notes
    -----
    With cov = LL', d the eigenvalues of L'AL and g the gradient L'(2 A loc + a) along its eigenvectors [1]_,

        log Z = r(loc) / beta + sum over i of -log(1 - 2 d_i / beta) / 2 + g_i^2 / (2 beta (beta - 2 d_i)).

    Z is infinite at and below beta = 2 max(d, 0). Above it the tilted y is normal too (:meth:`tilted`), with the
    precision cov^-1 - 2 A / beta. With a d above 0 the weights have a power-law tail of index 2 max(d) / beta.

    References
    ----------
    .. [1] A. M. Mathai and S. B. Provost, *Quadratic forms in random variables*, 1992, theorem 3.2a.1.

    Examples
    --------
    A reward of 0.2 y^2 has weights of tail index 0.4 at beta 1, and log Z = -log(1 - 0.4) / 2:

    >>> from tiltz.laws import NormalQuadratic
    >>> law = NormalQuadratic(0, 1, 0.2)
    >>> law
    NormalQuadratic(n_variables=1, mean=0.2, beta_min=0.4)
    >>> law.log_z([1.0, 0.4]).round(6)
    array([0.255413,      inf])
    """

    loc: npt.ArrayLike
    cov: npt.ArrayLike
    quadratic: npt.ArrayLike
    linear: npt.ArrayLike | None = field(default=None, kw_only=True)
    constant: float = field(default=0.0, kw_only=True)
    _root: Floats = field(init=False)
    _squares: NormalSquares = field(init=False)

    def __post_init__(self) -> None:
        loc = vector("loc", self.loc)
        cov = covariance("cov", self.cov, len(loc))
        given = matrix("quadratic", self.quadratic, len(loc))
        linear = vector("linear", np.zeros(len(loc)) if self.linear is None else self.linear, len(loc))
        quadratic, constant = 0.5 * given + 0.5 * given.T, number("constant", self.constant)
        root, curvature = _principal_axes(cov, quadratic)
        bent = quadratic @ loc
        slope = root.T @ (2.0 * bent + linear)
        size = np.abs(root).T @ (2.0 * np.abs(quadratic) @ np.abs(loc) + np.abs(linear))
        level = np.abs(slope) <= 8 * len(loc) * _EPS * np.max(size, initial=0.0)
        squares = NormalSquares(
            constant=float(loc @ bent + linear @ loc) + constant,
            curvature=curvature,
            slope=np.where((curvature == 0) & level, 0.0, slope),
        )
        store(self, loc=loc, cov=cov, quadratic=quadratic, linear=linear, constant=constant)
        store(self, _root=root, _squares=squares)

    def __repr__(self) -> str:
        n = len(np.asarray(self.loc))
        return f"NormalQuadratic(n_variables={n}, mean={self.mean:.6g}, beta_min={self.beta_min:.6g})"

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self._squares.mean

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return self._squares.beta_min

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest possible reward."""
        return self._squares.reward_range

    def tilted(self, beta: float) -> NormalQuadratic:
        """Return the law of the reward under the tilted distribution; its ``loc`` and ``cov`` are those of y there."""
        shift, variance = self._squares.tilted_parts(one_beta(self, beta))
        return NormalQuadratic(
            np.asarray(self.loc) + self._root @ shift,
            (self._root * variance) @ self._root.T,
            self.quadratic,
            linear=self.linear,
            constant=self.constant,
        )

    def negated(self) -> NormalQuadratic:
        """Return the law of minus the reward."""
        linear, quadratic = np.asarray(self.linear), np.asarray(self.quadratic)
        return NormalQuadratic(self.loc, self.cov, -quadratic, linear=-linear, constant=-self.constant)

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return self._squares.sample(n, rng)

    def _kl(self, beta: Floats) -> Floats:
        return self._squares.kl(beta)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self._squares.kl_reverse(beta)

    def _log_z(self, beta: Floats) -> Floats:
        return self._squares.log_z(beta)

    def _mean_reward(self, beta: Floats) -> Floats:
        return self._squares.mean_reward(beta)


def _principal_axes(cov: Floats, quadratic: Floats) -> tuple[Floats, Floats]:
    """Return a root of ``cov`` along whose columns the quadratic has no cross terms, and its curvature there."""
    root = root_of(cov)
    if is_diagonal(cov) and is_diagonal(quadratic):
        # Products of the entries: no eigenvalue is rounded, and beta_min is exact.
        return np.diag(np.sqrt(np.diag(cov))), np.diag(cov) * np.diag(quadratic)
    curvature, axes = np.linalg.eigh(root.T @ quadratic @ root)
    rounding = 4 * len(cov) * _EPS * np.max(np.abs(curvature), initial=0.0)
    return root @ axes, np.where(np.abs(curvature) <= rounding, 0.0, curvature)
