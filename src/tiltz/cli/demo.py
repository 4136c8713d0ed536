"""``tiltz demo``: the whole job on the embedded models, from prompts to where a fine-tuned policy stands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

import tiltz
from tiltz.cli import session
from tiltz.cli.options import Betas, one_beta
from tiltz.files import write_columns
from tiltz.text import number, paragraph, table

_MISSING = 0.01  # a search ends when so much probability is left,
_MOST_TOKENS = 1500  # or when the model has read so many tokens

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Prompts of one kind, and the reward of their completions: right or wrong, or a rating."""

    name: str
    rows: list[dict[str, Any]]
    reward: Any

    def rewards(self, row: Mapping[str, Any], texts: list[str]) -> list[float]:
        columns = {name: [value] * len(texts) for name, value in row.items()}
        return self.reward(prompts=columns.pop("prompt"), completions=texts, **columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is known of the prompts of one kind at one beta; arrays have one entry per prompt."""

    kind: _Kind
    drawn: tiltz.Estimate
    lo: Floats
    hi: Floats
    reward: Floats
    audit: tiltz.Audit


@click.command()
@click.option(
    "--beta", type=Betas(), multiple=True, default=["0.2"], show_default=True, callback=one_beta,
    help="Beta to show; the policy was trained at 0.2.",
)  # fmt: skip
@click.option(
    "--prompts", "n_prompts", type=click.IntRange(min=1, max=240), default=48, show_default=True,
    help="How many of the embedded prompts.",
)  # fmt: skip
@click.option("--rows", default=15, show_default=True, type=click.IntRange(min=1), help="Prompts to print.")
@click.option(
    "-n", "n", type=click.IntRange(min=2), default=64, show_default=True, help="Completions per prompt."
)
@click.option(
    "--output", "-o", type=click.Path(file_okay=False), default="tiltz-demo", show_default=True,
    help="Folder to write.",
)  # fmt: skip
def demo(beta: float, n_prompts: int, rows: int, n: int, output: str) -> None:
    """Run the whole job on the embedded models.

    Prompts, a reference and a reward become rollouts on disk; these become log Z per prompt, beside what best-first
    search certifies; and a policy that was fine-tuned from the reference is compared with the best that the reward
    allows. All of it runs offline.

    \b
    Examples:
      tiltz demo
      tiltz demo --beta 0.5 --rows 5 -o elsewhere/
    """
    folder = Path(output)
    found, kinds = [], _kinds(n_prompts)
    with session.progress("drawing, searching") as told:
        for i, kind in enumerate(kinds):
            told(i / len(kinds))
            found.append(_find(kind, beta, n, folder / kind.name))
    _write(found, beta, folder / "log_z.csv")
    click.echo(f"log Z (nats) at beta {number(beta)}: from {n} draws per prompt, and by best-first search\n")
    click.echo(_prompts_table(found, rows))
    click.echo("\nWhere the fine-tuned policy stands, over the prompts of each kind\n")
    click.echo(_policy_table(found))
    click.echo()
    for sentence in _sentences(found):
        click.echo("\n".join(paragraph(sentence)))
    place = shlex.quote(str(folder))
    click.echo(f"\nThe rollouts and log_z.csv are in {place}. Next, on these or on your own:")
    names = [kind.name for kind in kinds]  # few prompts are of few kinds
    one, other = ("label" if "label" in names else names[0], "review" if "review" in names else names[-1])
    click.echo(f"  tiltz estimate {place}/{one}/reference --beta {number(beta)}")
    click.echo(f"  tiltz sweep {place}/{other}/reference --betas 0.05:5:9")
    audit = f"tiltz audit {place}/{other}/policy --reference {place}/{other}/reference"
    click.echo(f"  {audit} \\\n    --score-policy tiny:policy --beta {number(beta)}")


def _kinds(n_prompts: int) -> list[_Kind]:
    # Models and rewards take longer to import than all other commands to run.
    from tiltz import rewards
    from tiltz.lm.load import EMBEDDED

    lines = (EMBEDDED / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    of_kind: dict[str, list[dict[str, Any]]] = {}
    for i in np.linspace(0, len(lines) - 1, n_prompts).round().astype(int):
        row = json.loads(lines[i])
        of_kind.setdefault(row["kind"], []).append(row)
    right, rating = rewards.exact_match(), rewards.clip(rewards.load("tiny"), -1, 1)
    return [
        _Kind(name=name, rows=rows, reward=right if rows[0]["answer"] else rating)
        for name, rows in of_kind.items()
    ]


def _find(kind: _Kind, beta: float, n: int, folder: Path) -> _Found:
    """Draw from the reference and the policy, search, estimate, and audit."""
    from tiltz import lm
    from tiltz.rollouts.audited import read_audited

    reference, policy = lm.load("tiny"), lm.load("tiny:policy")
    tiltz.rollout(reference, kind.reward, kind.rows, n, folder / "reference")
    tiltz.rollout(reference, kind.reward, kind.rows, n, folder / "policy", policy=policy)
    certain = [_certified(reference, kind, row, beta) for row in kind.rows]
    drawn = tiltz.read(folder / "reference")
    both = read_audited(folder / "policy", folder / "reference", score_policy="tiny:policy")
    return _Found(
        kind=kind,
        drawn=tiltz.estimate(drawn, beta),
        lo=np.array([estimate.lo[0, 0] for estimate in certain]),
        hi=np.array([estimate.hi[0, 0] for estimate in certain]),
        reward=drawn.reward.reshape(-1, n).mean(axis=1),
        audit=tiltz.audit(both.policy, beta, reference=both.reference, checks=both.checks),
    )


def _certified(model: Any, kind: _Kind, row: Mapping[str, Any], beta: float) -> tiltz.Estimate:
    from tiltz import lm

    search = lm.Search(model=model, prompt=row["prompt"]).run(missing=_MISSING, max_tokens=_MOST_TOKENS)
    known = search.outcomes(lambda texts: kind.rewards(row, texts), reward_range=kind.reward.reward_range)
    return tiltz.estimate(known, beta)


def _prompts_table(found: list[_Found], rows: int) -> str:
    """Return one line per prompt: what was drawn, and what is certain."""
    headers = ["prompt", "reward", "log Z", "95% interval", "certified"]
    lines = [
        [
            part.kind.rows[i]["prompt"].removesuffix(" ->"),
            number(part.reward[i]),
            number(part.drawn.log_z[i, 0]),
            _between(part.drawn.lo[i, 0], part.drawn.hi[i, 0]),
            _between(part.lo[i], part.hi[i]),
        ]
        for part in found
        for i in range(len(part.lo))
    ]
    chosen = np.linspace(0, len(lines) - 1, min(rows, len(lines))).round().astype(int)
    text = table(headers, [lines[i] for i in chosen], right=range(1, len(headers)))
    return text + (f"\n... {len(lines) - len(chosen)} more in log_z.csv" if len(chosen) < len(lines) else "")


def _policy_table(found: list[_Found]) -> str:
    """Return one line per kind of prompt: rewards, divergence, objective, ceiling, and how much of it is reached."""
    headers = ["prompts", "E_ref[r]", "E[r]", "KL", "J", "V", "collected", "verdict"]
    lines = []
    for part in found:
        whole = part.audit.overall
        shown = (whole.reference_reward, whole.reward, whole.kl, whole.achieved, whole.ceiling)
        lo, hi = 100 * whole.share.lo, 100 * whole.share.hi
        limits = f"[{lo:.0f}, {hi:.0f}]" if np.isfinite(hi - lo) else "[-, -]"
        collected = f"{100 * whole.share.value:.0f}% {limits}"
        lines.append([part.kind.name, *(number(q.value, 3) for q in shown), collected, whole.verdict])
    return table(headers, lines, right=range(1, 7))


def _sentences(found: list[_Found]) -> list[str]:
    lo = np.concatenate([part.drawn.lo[:, 0] for part in found])
    hi = np.concatenate([part.drawn.hi[:, 0] for part in found])
    least, most = (np.concatenate([getattr(part, name) for part in found]) for name in ("lo", "hi"))
    agree = (lo <= most) & (least <= hi)
    level = found[0].drawn.level
    return [
        "reward: mean of the draws. J = E[r] - beta KL(policy || reference), in units of reward, which no policy can "
        "bring above V = beta log Z; collected: (J - E_ref[r]) / (V - E_ref[r]), with its 95% interval.",
        f"Interval and certified limits overlap for {agree.sum()} of {agree.size} prompts; where an interval holds the "
        f"truth they must, and it does for at least {level:.0%} on average.",
        "Search is sure where answers are few: sums, lists, labels. Reviews and stories have too many completions to "
        "list, and there the draws know more.",
    ]


def _write(found: list[_Found], beta: float, path: Path) -> None:
    columns: dict[str, Any] = {
        "prompt_id": [row["prompt_id"] for part in found for row in part.kind.rows],
        "prompt": [row["prompt"] for part in found for row in part.kind.rows],
        "beta": [beta for part in found for _ in part.kind.rows],
    }
    columns |= {
        name: np.concatenate([getattr(part.drawn, name)[:, 0] for part in found])
        for name in ("log_z", "lo", "hi")
    }
    columns |= {
        f"certified_{name}": np.concatenate([getattr(part, name) for part in found]) for name in ("lo", "hi")
    }
    write_columns(columns, path)


def _between(lo: float, hi: float) -> str:
    return f"[{number(lo)}, {number(hi)}]"
