"""The normalization factor of a reward-weighted policy: exact, certified, or with an interval that covers."""

from typing import TYPE_CHECKING

from tiltz.claims import ZCheck, check_z
from tiltz.curves import (
    BestOfN,
    BetaChoice,
    SamplesNeeded,
    Sweep,
    best_of_n,
    beta_for_kl,
    beta_for_reward,
    samples_needed,
    smallest_beta,
    sweep,
)
from tiltz.expected import Expectation, expect
from tiltz.inference import (
    Contributions,
    Estimate,
    Monitor,
    Overall,
    Sandwich,
    States,
    bridge,
    contributions,
    estimate,
    mbar,
    sandwich,
)
from tiltz.logspace import log_partition, normalize, tilted_log_prob
from tiltz.outcomes import Outcomes
from tiltz.pooling import pool
from tiltz.rollouts import read
from tiltz.tilted import Tilted, tilt

if TYPE_CHECKING:
    from tiltz.auditing import Audit, audit
    from tiltz.known import Known, chain, integrate, sum_over
    from tiltz.rollouts.drawing import rollout

__version__ = "0.1.0"
__all__ = [
    "Audit",
    "BestOfN",
    "BetaChoice",
    "Contributions",
    "Estimate",
    "Expectation",
    "Known",
    "Monitor",
    "Outcomes",
    "Overall",
    "SamplesNeeded",
    "Sandwich",
    "States",
    "Sweep",
    "Tilted",
    "ZCheck",
    "audit",
    "best_of_n",
    "beta_for_kl",
    "beta_for_reward",
    "bridge",
    "chain",
    "check_z",
    "contributions",
    "estimate",
    "expect",
    "integrate",
    "log_partition",
    "mbar",
    "normalize",
    "pool",
    "read",
    "rollout",
    "samples_needed",
    "sandwich",
    "smallest_beta",
    "sum_over",
    "sweep",
    "tilt",
    "tilted_log_prob",
]


_ROOMS = ("known", "laws", "lm", "rewards", "sampling", "testbeds")
_FROM = {
    "Audit": "tiltz.auditing",
    "Known": "tiltz.known",
    "audit": "tiltz.auditing",
    "chain": "tiltz.known",
    "integrate": "tiltz.known",
    "rollout": "tiltz.rollouts.drawing",
    "sum_over": "tiltz.known",
}


def __getattr__(name: str) -> object:
    """Load the larger rooms on first use: importing them takes as long as all the rest."""
    import importlib

    if name in _ROOMS:
        return importlib.import_module(f"tiltz.{name}")
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    raise AttributeError(f"module 'tiltz' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS, "__version__"})
