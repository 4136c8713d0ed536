"""What a sample may be warned of."""

from __future__ import annotations

from collections.abc import Iterable

from tiltz.text import paragraph

FLAGS = {
    "nothing": "no draw was accepted: the reward is too rare at this beta for so few draws",
    "budget": "fewer were accepted than asked for before the draws ran out",
    "no_limit": "no highest reward is declared, so that nothing limits how far the law is from the tilted one",
    "few_effective": "fewer than 10 effective draws: too few to stand for the whole tilted distribution",
    "stuck": "moves are hardly ever accepted: the chain stays where it is",
    "wide_rung": "the weights of one step of the ladder have fewer effective draws than a tenth: add steps or draws",
    "single_run": "one run alone does not know its error: ask for replicates",
    "one_run": "one run holds more than half of the total Z, so that the spread of the runs is too small: add runs",
    "adaptive": "the ladder was chosen by the run itself: log Z is consistent, not unbiased",
    "extinct": "in some run every draw had reward -inf; it counts as Z = 0",
}
"""Every flag and its meaning."""


def flag_lines(flags: Iterable[str]) -> list[str]:
    """Return the meaning of each flag that is up, as lines of a summary."""
    up = set(flags)
    return [line for flag, says in FLAGS.items() if flag in up for line in paragraph(f"flag {flag}: {says}")]
