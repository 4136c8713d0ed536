"""What ``interval="auto"`` promises and keeps, problem by problem; the code of the tests and of docs/coverage.md.

``python -m tests.statistical.coverage`` prints the page (some minutes); ``make coverage`` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import tiltz
from tests.statistical import test_shrinkage as shrinkage
from tiltz.laws import Categorical, Law, Normal, TwoPoint
from tiltz.testbeds import cells, mixed_problem

REPLICATIONS = 1000
SIZES = (16, 64, 256, 1024)
TWO_SIDED = ("certified", "calibrated", "approximate")
CLAIMED = ("certified", "calibrated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Shares of replications of one problem at one n."""

    name: str
    n: int
    answered: float  # two limits
    claimed: float  # certified or calibrated
    claimed_and_missed: float
    covered: float  # of all intervals, also the one-sided and the approximate ones
    covered_given_claim: float  # nan if nothing is claimed
    width: float  # median over two-sided ones, nats
    against_delta: float  # median ratio of widths


def row_of(name: str, est: tiltz.Estimate, delta: tiltz.Estimate, truth: float) -> Row:
    """Summarise one beta of replicated prompts."""
    lo, hi, kind = est.lo[:, 0], est.hi[:, 0], est.kind[:, 0]
    held = (lo - 1e-9 <= truth) & (truth <= hi + 1e-9)
    answered, claimed = np.isin(kind, TWO_SIDED) & np.isfinite(hi), np.isin(kind, CLAIMED)
    widths, widths_delta = (hi - lo)[answered], (delta.hi - delta.lo)[answered, 0]
    compared = np.isfinite(widths_delta) & (widths_delta > 0)
    return Row(
        name=name,
        n=int(est.n[0]),
        answered=float(answered.mean()),
        claimed=float(claimed.mean()),
        claimed_and_missed=float((claimed & ~held).mean()),
        covered=float(held.mean()),
        covered_given_claim=float(held[claimed].mean()) if claimed.any() else np.nan,
        width=float(np.median(widths)) if len(widths) else np.nan,
        against_delta=float(np.median(widths[compared] / widths_delta[compared]))
        if compared.any()
        else np.nan,
    )


def measure(name: str, law: Law, beta: float, n: int, replications: int, **declared: object) -> Row:
    """Estimate so many independent samples of one problem."""
    rng = np.random.default_rng([n, *name.encode()])
    table = tiltz.Outcomes.sampled(law.sample((replications, n), rng), **declared)
    return row_of(
        name,
        tiltz.estimate(table, beta),
        tiltz.estimate(table, beta, interval="delta"),
        float(law.log_z(beta)),
    )


def undeclared(replications: int, sizes: tuple[int, ...] = SIZES) -> Iterator[Row]:
    """Yield every problem with nothing declared."""
    for name, law, beta in cells():
        for n in sizes:
            yield measure(name, law, beta, n, replications)


def declaration(law: Law) -> dict[str, object]:
    """Return what can be declared of a law: its values where they are few, else its range where it has one."""
    if isinstance(law, TwoPoint):
        return {"reward_values": (law.low, law.high)}
    if isinstance(law, Categorical):
        return {"reward_values": tuple(law.reward)}
    low, high = law.reward_range
    return {"reward_range": (low, high)} if np.isfinite(low) and np.isfinite(high) else {}


def declared(replications: int, sizes: tuple[int, ...] = SIZES) -> Iterator[Row]:
    """Yield every problem of which something can be declared, with it declared."""
    for name, law, beta in cells():
        known = declaration(law)
        for n in sizes if known else ():
            yield measure(name, law, beta, n, replications, **known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """Shares over random problems of which nothing is declared."""

    n: int
    claimed_and_missed: float
    declined: float
    gaussian_answered: float  # of Gaussian rewards with s = sd / beta at most 1
    gaussian_claimed: float
    easy_answered: float  # of all rewards with sd / beta at most 1, heavy tails included
    easy_claimed: float
    against_delta: float


def mixed(problems: int, seed: int = 0) -> Mixed:
    """Estimate so many random problems, each a table of its own."""
    rng = np.random.default_rng(seed)
    missed, answered, claimed, easy, gaussian, ratio = (np.zeros(problems) for _ in range(6))
    for i in range(problems):
        law, beta, n = mixed_problem(rng)
        rewards = law.sample(n, rng)
        table = tiltz.Outcomes.sampled(rewards)
        row = row_of(
            "mixed",
            tiltz.estimate(table, beta),
            tiltz.estimate(table, beta, interval="delta"),
            float(law.log_z(beta)),
        )
        missed[i], answered[i], claimed[i] = row.claimed_and_missed, row.answered, row.claimed
        easy[i], gaussian[i], ratio[i] = (
            spread_of(law) / beta <= 1,
            isinstance(law, Normal),
            row.against_delta,
        )
    light, bell = easy == 1, (easy == 1) & (gaussian == 1)
    return Mixed(
        n=problems,
        claimed_and_missed=float(missed.mean()),
        declined=float(1 - answered.mean()),
        gaussian_answered=float(answered[bell].mean()),
        gaussian_claimed=float(claimed[bell].mean()),
        easy_answered=float(answered[light].mean()),
        easy_claimed=float(claimed[light].mean()),
        against_delta=float(np.nanmedian(ratio)),
    )


def spread_of(law: Law) -> float:
    """Return the standard deviation of a law's reward, from the curvature of log Z at large beta."""
    beta = 1e6 * max(1.0, abs(law.mean))
    return float(np.sqrt(2 * law.kl(beta))) * beta


def page(replications: int, problems: int, seeds: int) -> Iterator[str]:
    """Yield the lines of docs/coverage.md."""
    yield from (
        "# What is promised, and what is kept",
        "",
        f"Written by `make coverage`. Nominal 95%; {replications:,} replications a line, so that a coverage is known",
        "to about 0.007 (one standard deviation). *Answered*: two limits. *Claimed*: certified or calibrated.",
        "*Missed*: claimed, and the truth lies outside. *Covered*: all intervals, the one-sided and the merely",
        "approximate ones included; where nothing is claimed nothing is promised. Widths are medians, in nats and over",
        "those of the delta interval.",
        "",
        "In the last two problems of the first table, what carries Z is in one draw of 10,000, or in the tail of one",
        "draw in 50. Most samples there look like those of an easy problem, and no look at the sample can tell: a",
        "claim that rests on samples alone is about what such samples can show. A declared range has no such hole.",
    )
    yield from table("Nothing declared", undeclared(replications))
    yield from table("Declared: the possible rewards, or their range", declared(replications))
    found = mixed(problems)
    yield from (
        "",
        "## A mix of problems, nothing declared",
        "",
        f"{found.n:,} random problems: Gaussian, exponential, gamma, Beta and two-valued rewards; 64, 256 or 1,024",
        "samples. Easy: s = sd(reward) / beta at most 1; exponential and gamma rewards can be easy and yet have",
        "weights without a variance, which are declined.",
        "",
        "| claimed and missed | declined | Gaussian, easy: answered | claimed | all easy: answered | claimed | "
        "width / delta |",
        "|---|---|---|---|---|---|---|",
        f"| {found.claimed_and_missed:.3f} | {found.declined:.3f} | {found.gaussian_answered:.3f} | "
        f"{found.gaussian_claimed:.3f} | {found.easy_answered:.3f} | {found.easy_claimed:.3f} | "
        f"{found.against_delta:.2f} |",
    )
    yield from (
        "",
        "## Pooling (`shrink=True`)",
        "",
        f"2,000 prompts, 8 samples each, success rates drawn anew; {seeds} tables. Ratio: median over tables of the",
        "root mean square error over that of log-mean-exp. Coverage: of the 95% posterior intervals, over prompts and",
        "tables.",
        "",
        "| success rates | prior | beta | ratio | coverage |",
        "|---|---|---|---|---|",
    )
    for rates, prior, beta, *_ in shrinkage.PROMISES:
        row = shrinkage.rates_row(rates, beta, seeds, prior=prior)
        yield f"| {rates} | {prior} | {beta:g} | {row.ratio:.3f} | {row.coverage:.3f} |"


def table(title: str, rows: Iterator[Row]) -> Iterator[str]:
    """Yield rows as a table under a title."""
    yield from (
        "",
        f"## {title}",
        "",
        "| problem | n | answered | claimed | missed | covered if claimed | covered | width | width / delta |",
        "|---|---|---|---|---|---|---|---|---|",
    )
    for row in rows:
        shares = (row.answered, row.claimed, row.claimed_and_missed, row.covered_given_claim, row.covered)
        words = [*(f"{share:.3f}" for share in shares), f"{row.width:.2f}", f"{row.against_delta:.2f}"]
        yield f"| {row.name} | {row.n} | {' | '.join(word.replace('nan', '') for word in words)} |"


if __name__ == "__main__":
    for line in page(REPLICATIONS, 3000, 20):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
