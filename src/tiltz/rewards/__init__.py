"""Rewards: functions in TRL's signature, from names, verifiers and transforms, evaluated so that no work is lost."""

from tiltz.rewards.classifier import Classifier, load_classifier
from tiltz.rewards.evaluate import Evaluated, evaluate
from tiltz.rewards.load import load
from tiltz.rewards.protocol import Reward, name_of, range_of, values_of
from tiltz.rewards.quantiles import log_quantile, quantile
from tiltz.rewards.transforms import affine, clip, weighted_sum
from tiltz.rewards.verifiers import exact_match, matches, math_equal, number, valid_json

__all__ = [
    "Classifier",
    "Evaluated",
    "Reward",
    "affine",
    "clip",
    "evaluate",
    "exact_match",
    "load",
    "load_classifier",
    "log_quantile",
    "matches",
    "math_equal",
    "name_of",
    "number",
    "quantile",
    "range_of",
    "valid_json",
    "values_of",
    "weighted_sum",
]
