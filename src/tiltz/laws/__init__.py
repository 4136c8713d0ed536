"""Laws of the reward under the reference, whose log Z is known exactly at every beta.

log Z(beta) is the cumulant generating function of the reward at 1/beta, so one law gives a whole curve. Nothing
here estimates anything, and nothing knows of prompts' texts or of tables.
"""

from tiltz.laws.affine import Affine
from tiltz.laws.beta import Beta
from tiltz.laws.categorical import Categorical
from tiltz.laws.constrained import Constrained
from tiltz.laws.contract import check_law
from tiltz.laws.gamma import Exponential, Gamma
from tiltz.laws.laplace import Laplace
from tiltz.laws.law import Law
from tiltz.laws.mixture import Mixture, rare_mode
from tiltz.laws.normal import Normal
from tiltz.laws.stacks import LawStack, NormalStack, Stack, TwoPointStack
from tiltz.laws.student_t import StudentT
from tiltz.laws.two_point import TwoPoint

__all__ = [
    "Affine",
    "Beta",
    "Categorical",
    "Constrained",
    "Exponential",
    "Gamma",
    "Laplace",
    "Law",
    "LawStack",
    "Mixture",
    "Normal",
    "NormalStack",
    "Stack",
    "StudentT",
    "TwoPoint",
    "TwoPointStack",
    "check_law",
    "rare_mode",
]
