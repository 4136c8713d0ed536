"""Laws against numbers that were computed elsewhere, with mpmath."""

import json
import math

import pytest

from tests.oracles import DATA, close, precisely
from tiltz.laws import (
    Affine,
    Categorical,
    DirichletLog,
    Exponential,
    Gamma,
    Geometric,
    HalfNormal,
    Laplace,
    Logistic,
    Mixture,
    NegativeBinomial,
    Normal,
    SphereLinear,
    StudentT,
    TwoPoint,
    VonMisesCos,
    beta_log,
    pareto_log,
    student_t_log_quadratic,
)

FAMILIES = {
    "bernoulli": lambda p: TwoPoint(float(p["p"])),
    "uniform categorical": lambda p: Categorical([1 / p["K"]] * p["K"], range(p["K"])),
    "categorical": lambda p: Categorical([float(x) for x in p["p"]], [float(x) for x in p["r"]]),
    "any": lambda p: Categorical([1.0], [p["c"]]),
    "normal x linear": lambda p: Affine(Normal(p["mu"], p["sigma"]), scale=float(p["r"].removesuffix("*y"))),
    "gamma x linear": lambda p: Gamma(p["shape"], p["rate"]),
    "exponential x linear": lambda p: Exponential(p["rate"]),
    "laplace x linear": lambda p: Laplace(p["loc"], p["scale"]),
    "student t x linear": lambda p: StudentT(p["df"]),
    "pareto x log": lambda p: pareto_log(p["alpha"], p["xm"]),
    "geometric x linear": lambda p: Geometric(p["q"]),
    "negative binomial x linear": lambda p: NegativeBinomial(p["r"], p["p"]),
    "beta x log": lambda p: beta_log(p["a"], p["b"]),
    "von Mises x cos": lambda p: VonMisesCos(p["kappa"]),
    "uniform S^2 x linear (vMF)": lambda p: SphereLinear(p["d"]),
    "dirichlet x sum c log y": lambda p: DirichletLog(p["alpha"], p["c"]),
    "student t x log(1+y^2/nu)": lambda p: student_t_log_quadratic(p["df"]),
    "half-normal x linear": lambda p: HalfNormal(p["sigma"]),
    "normal x -|y|": lambda p: Affine(HalfNormal(), scale=-1),
    "logistic x linear": lambda p: Logistic(p["loc"], p["scale"]),
    "gaussian mixture x linear, rare rewarding mode": lambda p: Mixture(
        p["w"], [Normal(mean, sd) for mean, sd in zip(p["mu"], p["sigma"], strict=True)]
    ),
}  # fmt: skip
CASES = [
    case
    for case in json.loads((DATA / "known_cases.json").read_text(encoding="utf-8"))["cases"]
    if case["family"] in FAMILIES
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_known_cases(case):
    law, beta = FAMILIES[case["family"]](case["params"]), case["beta"]
    if not case["finite"]:
        assert law.log_z(beta) == law.soft_value(beta) == math.inf
        assert beta <= law.beta_min
        return
    for curve in ("log_z", "mean_reward", "kl", "kl_reverse"):
        assert close(getattr(law, curve)(beta), case[curve], 1e-12), curve
    if 2.0 / beta >= 1.0 / max(law.beta_min, 1e-300):
        assert law.log_z(beta / 2) == math.inf  # no effective sample size
    else:
        rel_ess = math.exp(2 * law.log_z(beta) - law.log_z(beta / 2))
        assert rel_ess == precisely(case["rel_ess"], rel=1e-10)


def test_every_family_has_a_known_case():
    assert {case["family"] for case in CASES} == set(FAMILIES)


def test_a_hot_tilt_keeps_its_digits():
    case = next(case for case in CASES if case["name"] == "categorical4_hot_beta1e8")
    law = FAMILIES["categorical"](case["params"])
    for curve in ("kl", "kl_reverse", "log_z"):
        assert getattr(law, curve)(1e8) == precisely(case[curve], rel=1e-6)
