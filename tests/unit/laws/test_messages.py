"""What is refused, and in which words."""

import math

import pytest

from tiltz.errors import InputError
from tiltz.laws import (
    Affine,
    Beta,
    Binomial,
    Categorical,
    Constrained,
    DirichletLog,
    Exponential,
    Geometric,
    LogQuantile,
    Mixture,
    NegativeBinomial,
    Normal,
    Poisson,
    SphereLinear,
    StudentT,
    TruncatedNormal,
    TwoPoint,
    Uniform,
    pareto_log,
    student_t_log_quadratic,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TwoPoint(1.5), r"p must lie in \[0, 1\]; found 1.5"),
        (lambda: TwoPoint(0.5, 1.0, 1.0), "low must be below high; found 1 and 1"),
        (lambda: TwoPoint("half"), "p must be a finite number; found 'half'"),
        (lambda: Normal(0, 0), "sd must be above 0; found 0"),
        (lambda: Normal(math.nan, 1), "mean must be a finite number; found nan"),
        (lambda: Exponential(-1), "rate must be above 0; found -1"),
        (lambda: Beta(1, math.inf), "b must be a finite number; found inf"),
        (lambda: Categorical([0.5, 0.4], [0, 1]), "prob must sum to 1 within 1e-09; found 0.9"),
        (lambda: Categorical([0.5, 0.5], [0]), "equal lengths; found 2 probabilities and 1 rewards"),
        (lambda: Categorical([], []), "prob must sum to 1"),
        (lambda: Categorical([0.5, 0.5], [0, -math.inf]), "each reward must be a finite number; found -inf"),
        (lambda: Mixture([1.0], [0.5]), "each of laws must be a law such as"),
        (lambda: Mixture([0.5, 0.5], [Normal()]), "equal lengths; found 2 weights and 1 laws"),
        (lambda: Mixture([1.0], [Constrained(Normal(), prob=0.5)]), r"use Constrained\(Mixture"),
        (lambda: Affine(Normal(), scale=0), "scale must not be 0, .* found 0"),
        (lambda: Affine(3), "law must be a law"),
        (lambda: Constrained(Normal(), prob=0), "prob must be above 0"),
        (lambda: Normal().log_z(0.0), "beta must be positive and finite; found 0"),
        (lambda: Normal().kl([1.0, -2.0]), "beta must be positive and finite; found -2"),
        (lambda: Normal().kl(math.inf), "beta must be positive and finite; found inf"),
        (lambda: Normal().soft_value("hot"), "beta must be positive and finite; found 'hot'"),
        (lambda: StudentT(0), "df must be above 0"),
        (lambda: Binomial(0, 0.5), "n must be a whole number of at least 1; found 0"),
        (lambda: Binomial(2.5, 0.5), "n must be a whole number of at least 1; found 2.5"),
        (lambda: Poisson(0), "mean must be above 0; found 0"),
        (lambda: Geometric(1), r"q, the probability of one more, must lie inside \(0, 1\); found 1"),
        (lambda: Geometric(-0.5), r"q must lie in \[0, 1\]; found -0.5"),
        (lambda: NegativeBinomial(0, 0.5), "size must be above 0"),
        (lambda: LogQuantile(0), "best_of must be above 0"),
        (lambda: Uniform(1, 1), "low must be below high; found 1 and 1"),
        (lambda: TruncatedNormal(0, 1, low=2, high=1), "low must be below high; found 2 and 1"),
        (lambda: TruncatedNormal(0, 1, low=math.inf), "low must be below high; found inf and inf"),
        (lambda: TruncatedNormal(0, 1, low=math.nan), "low must be a finite number; found nan"),
        (lambda: TruncatedNormal(0, 1, low="none"), "low must be a finite number; found 'none'"),
        (lambda: SphereLinear(1), "dim must be a whole number of at least 2; found 1"),
        (lambda: DirichletLog([1, 2], [1]), "equal lengths of at least 2; found 2 and 1"),
        (lambda: DirichletLog([1], [1]), "equal lengths of at least 2; found 1 and 1"),
        (lambda: DirichletLog([1, 0], [1, 1]), "each of alpha must be above 0; found 0"),
        (lambda: DirichletLog(3, [1, 1]), "alpha must be a sequence of finite numbers; found 3"),
        (lambda: DirichletLog([], []), "alpha must hold at least one number"),
        (lambda: pareto_log(3, scale=0), "scale must be above 0"),
        (lambda: student_t_log_quadratic(-1), "df must be above 0"),
    ],
)  # fmt: skip
def test_messages(make, message):
    with pytest.raises(InputError, match=message):
        make()
