"""Laws of the reward under the reference, whose log Z is known exactly at every beta.

log Z(beta) is the cumulant generating function of the reward at 1/beta, so one law gives a whole curve. Nothing
here estimates anything, and nothing knows of prompts' texts or of tables.
"""

from tiltz.laws.affine import Affine
from tiltz.laws.beta import Beta
from tiltz.laws.binomial import Binomial
from tiltz.laws.categorical import Categorical
from tiltz.laws.constrained import Constrained
from tiltz.laws.contract import check_law
from tiltz.laws.directions import SphereLinear, VonMisesCos
from tiltz.laws.dirichlet_log import (
    DirichletLog,
    beta_log,
    lognormal_log,
    pareto_log,
    student_t_log_quadratic,
)
from tiltz.laws.empirical import Empirical
from tiltz.laws.extremes import Gumbel, Logistic
from tiltz.laws.gamma import Exponential, Gamma, LogQuantile
from tiltz.laws.laplace import Laplace
from tiltz.laws.law import Law
from tiltz.laws.mixture import Mixture, rare_mode
from tiltz.laws.negative_binomial import Geometric, NegativeBinomial
from tiltz.laws.normal import Normal
from tiltz.laws.normal_linear import normal_linear
from tiltz.laws.normal_quadratic import NormalQuadratic
from tiltz.laws.poisson import Poisson
from tiltz.laws.quantile import QuantileReward
from tiltz.laws.stacks import LawStack, NormalStack, Stack, TwoPointStack
from tiltz.laws.student_t import StudentT
from tiltz.laws.sum import Sum
from tiltz.laws.truncated_normal import HalfNormal, TruncatedNormal
from tiltz.laws.two_point import TwoPoint
from tiltz.laws.uniform import Uniform

__all__ = [
    "Affine",
    "Beta",
    "Binomial",
    "Categorical",
    "Constrained",
    "DirichletLog",
    "Empirical",
    "Exponential",
    "Gamma",
    "Geometric",
    "Gumbel",
    "HalfNormal",
    "Laplace",
    "Law",
    "LawStack",
    "LogQuantile",
    "Logistic",
    "Mixture",
    "NegativeBinomial",
    "Normal",
    "NormalQuadratic",
    "NormalStack",
    "Poisson",
    "QuantileReward",
    "SphereLinear",
    "Stack",
    "StudentT",
    "Sum",
    "TruncatedNormal",
    "TwoPoint",
    "TwoPointStack",
    "Uniform",
    "VonMisesCos",
    "beta_log",
    "check_law",
    "lognormal_log",
    "normal_linear",
    "pareto_log",
    "rare_mode",
    "student_t_log_quadratic",
]
