"""Finite worlds and populations of prompts whose log Z is known exactly, for tests and for users."""

from tiltz.testbeds.language_models import check_language_model
from tiltz.testbeds.populations import (
    Cell,
    Draw,
    LawPopulation,
    NormalPopulation,
    Population,
    Problem,
    RatePopulation,
    cells,
    mixed_problem,
)
from tiltz.testbeds.sums import DEMO_FILE, Sums, demo_rollouts, sums, write_demo

__all__ = [
    "DEMO_FILE",
    "Cell",
    "Draw",
    "LawPopulation",
    "NormalPopulation",
    "Population",
    "Problem",
    "RatePopulation",
    "Sums",
    "cells",
    "check_language_model",
    "demo_rollouts",
    "mixed_problem",
    "sums",
    "write_demo",
]
