"""What an audit is: quantities with limits, per prompt and overall, verdicts, and the checks behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.auditing.checks import Check
from tiltz.auditing.trust import FLAGS
from tiltz.text import count, number, paragraph, table

Floats = npt.NDArray[np.float64]

SHOWN = (
    "reward",
    "kl",
    "achieved",
    "reference_reward",
    "ceiling",
    "gap",
    "share",
    "optimal_reward",
)
"""The quantities that a result shows, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantity:
    """A point and its limits: arrays of shape (n_prompts,), or floats overall."""

    value: Any
    lo: Any
    hi: Any

    def at(self, i: int) -> Quantity:
        """Return those of one prompt."""
        return Quantity(value=float(self.value[i]), lo=float(self.lo[i]), hi=float(self.hi[i]))

    def to_dict(self) -> dict[str, float]:
        """Return value, lo and hi of one prompt or overall."""
        return {"value": float(self.value), "lo": float(self.lo), "hi": float(self.hi)}

    def __str__(self) -> str:
        return f"{number(self.value)} [{number(self.lo)}, {number(self.hi)}]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantities:
    """What is audited, each a :class:`Quantity`.

    Attributes
    ----------
    reward : Quantity
        E_policy[r].
    kl : Quantity
        KL(policy || reference), in nats.
    achieved : Quantity
        J = E_policy[r] - beta KL(policy || reference).
    reference_reward : Quantity
        E_ref[r], which is J of the reference.
    ceiling : Quantity
        V = beta log Z, the largest J that any policy has.
    gap : Quantity
        V - J = beta KL(policy || tilted).
    share : Quantity
        (J - E_ref[r]) / (V - E_ref[r]).
    optimal_reward : Quantity
        E_tilted[r], the reward at the optimum.
    """

    reward: Quantity
    kl: Quantity
    achieved: Quantity
    reference_reward: Quantity
    ceiling: Quantity
    gap: Quantity
    share: Quantity
    optimal_reward: Quantity


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OverallAudit(Quantities):
    """Means over the prompts' population, and the verdict; ``share`` is the ratio of means.

    Attributes
    ----------
    n_prompts : int
        Prompts averaged over.
    n_open : int
        Prompts whose ceiling has no upper limit, for reasons that more prompts do not mend.
    kind : str
        "approximate", or "lower-only" where most prompts are open.
    verdict : str
        In words.
    """

    n_prompts: int
    n_open: int
    kind: str
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Audit(Quantities):
    """How far a policy is from the optimum of its own reward at one beta.

    Attributes
    ----------
    prompt : array, shape (n_prompts,)
        Labels.
    beta, level : float
        KL coefficient, and confidence level.
    n_policy, n_reference : int array, shape (n_prompts,)
        Rows that each drew.
    kind : array of str, shape (n_prompts,)
        "approximate"; "lower-only" where the ceiling has no upper limit.
    flags : array of tuple of str, shape (n_prompts,)
        Why.
    verdict : array of str, shape (n_prompts,)
        "under-optimised", "near its optimum", "over-optimised", "the data cannot tell", or "refused".
    overall : OverallAudit
        The same over prompts.
    checks : tuple of Check
        What was tried to prove the log-probabilities wrong.
    """

    prompt: npt.NDArray[Any]
    beta: float
    level: float
    n_policy: npt.NDArray[np.int64]
    n_reference: npt.NDArray[np.int64]
    kind: npt.NDArray[Any]
    flags: npt.NDArray[Any]
    verdict: npt.NDArray[Any]
    overall: OverallAudit
    checks: tuple[Check, ...]

    def __repr__(self) -> str:
        o = self.overall
        of = f"{count(len(self.prompt), 'prompt')}, beta {number(self.beta)}"
        return f"Audit({of}: share {o.share}, gap {o.gap}, {o.verdict})"

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the long table, one row per prompt, as a list per column; quantities are {value, lo, hi}."""
        columns: dict[str, list[Any]] = {
            "prompt": self.prompt.tolist(),
            "beta": [self.beta] * len(self.prompt),
        }
        for name in SHOWN:
            columns[name] = [getattr(self, name).at(i).to_dict() for i in range(len(self.prompt))]
        columns["level"] = [self.level] * len(self.prompt)
        for name in ("n_policy", "n_reference", "kind", "verdict"):
            columns[name] = getattr(self, name).tolist()
        columns["flags"] = [list(flags) for flags in self.flags]
        return columns

    def overall_dict(self) -> dict[str, Any]:
        """Return what holds over prompts, with the checks, as an object that JSON can hold."""
        found: dict[str, Any] = {name: getattr(self.overall, name).to_dict() for name in SHOWN}
        found |= {name: getattr(self.overall, name) for name in ("n_prompts", "n_open", "kind", "verdict")}
        checks = [{"name": c.name, "status": c.status, "text": c.text} for c in self.checks]
        return {"beta": self.beta, "level": self.level, **found, "checks": checks}

    def summary(self, *, max_rows: int | None = 20) -> str:
        """Return the audit as text of at most 80 columns.

        Parameters
        ----------
        max_rows : int or None, default 20
            Lines for prompts; None shows all.
        """
        return "\n".join([*self._headline(), "", *self._table(max_rows), *self._notes()])

    def _headline(self) -> Iterator[str]:
        o, interval = self.overall, f"{100 * self.level:g}%"
        over = (
            f"over {count(o.n_prompts, 'prompt')} at beta {number(self.beta)}, {interval} intervals, {o.kind}"
        )
        yield from paragraph(f"{o.verdict}: {over}")
        share = Quantity(value=100 * o.share.value, lo=100 * o.share.lo, hi=100 * o.share.hi)
        nats = (o.gap.value / self.beta, o.gap.lo / self.beta, o.gap.hi / self.beta)
        distance = str(Quantity(value=nats[0], lo=nats[1], hi=nats[2]))
        lines = [
            ("reward, policy", o.reward, ""),
            ("KL to the reference", o.kl, " nats"),
            ("J, achieved", o.achieved, ""),
            ("V, the ceiling", o.ceiling, f" at reward {number(o.optimal_reward.value)}"),
            ("reward, reference", o.reference_reward, ""),
            ("gap", o.gap, f": {distance} nats from the optimum"),
            ("collected", share, " % of what is above the reference"),
        ]
        for name, quantity, unit in lines:
            yield from paragraph(f"  {name:20s} {quantity}{unit}")

    def _table(self, max_rows: int | None) -> Iterator[str]:
        n = len(self.prompt)
        shown = n if max_rows is None else min(n, max_rows)
        letters = dict(zip(FLAGS, "FOUHSTRE", strict=True))
        rows = [
            [
                str(self.prompt[i]),
                *(
                    number(getattr(self, name).value[i], 3)
                    for name in ("reward", "kl", "achieved", "ceiling")
                ),
                str(self.gap.at(i)),
                self.verdict[i],
                "".join(letters[flag] for flag in self.flags[i]),
            ]
            for i in range(shown)
        ]
        yield table(["prompt", "reward", "KL", "J", "V", "gap", "verdict", ""], rows, right=range(1, 6))
        if shown < n:
            yield f"... {count(n - shown, 'more prompt')} of {n:,}"
        raised = Counter(flag for flags in self.flags for flag in flags)
        for flag, meaning in FLAGS.items():
            if raised[flag]:
                yield from paragraph(f"flag {letters[flag]} {flag} ({raised[flag]:,}): {meaning}")

    def _notes(self) -> Iterator[str]:
        for verdict, n in Counter(self.verdict.tolist()).most_common():
            yield from paragraph(f"{count(n, 'prompt')}: {verdict}")
        if self.overall.n_open:
            yield from paragraph(
                f"{count(self.overall.n_open, 'prompt')} whose ceiling has no upper limit count with their points"
            )
        yield ""
        for check in self.checks:
            yield from paragraph(f"{check.status}: {check.name}: {check.text}")
