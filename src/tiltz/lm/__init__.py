"""Language models as references: completions drawn and scored under one and the same distribution."""

from tiltz.lm.answers import Answers, score_answers
from tiltz.lm.load import load
from tiltz.lm.local import Engine, LocalModel
from tiltz.lm.protocol import Completion, LanguageModel, TokenModel
from tiltz.lm.retokenized import retokenized
from tiltz.lm.search import Search
from tiltz.lm.spec import SamplingSpec
from tiltz.lm.table import read_table_model, table_model

__all__ = [
    "Answers",
    "Completion",
    "Engine",
    "LanguageModel",
    "LocalModel",
    "SamplingSpec",
    "Search",
    "TokenModel",
    "load",
    "read_table_model",
    "retokenized",
    "score_answers",
    "table_model",
]
