"""Drawing: batches of prompts become shards, durable once they have their name; a second run goes on from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tiltz.errors import FileError, InputError
from tiltz.files import write_columns
from tiltz.lm import Completion, LanguageModel
from tiltz.rewards import Evaluated, Reward, evaluate, name_of
from tiltz.rewards.messages import as_text
from tiltz.rollouts.drawing.prompts import Prompts

_MANIFEST = "rollout.json"
_ROWS = 2048  # of a shard, about


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is: completions on disk and in all, tokens drawn in this run, rows without a reward."""

    n_rows: int
    n_rows_wanted: int
    n_tokens: int
    n_failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRun:
    """What a run left on disk.

    Attributes
    ----------
    folder : Path
        With the shards: ``tiltz.read(folder)`` reads it, also while it is being written.
    n_rows : int
        Completions in it.
    n_new : int
        Of these, drawn by this run.
    n_tokens : int
        Tokens of those.
    n_failed : int
        Of those, without a reward: the column ``error`` says why.
    """

    folder: Path
    n_rows: int
    n_new: int
    n_tokens: int
    n_failed: int


def rollout(
    model: LanguageModel,
    reward: Reward | dict[str, Reward],
    prompts: Prompts | Sequence[Any],
    n: int,
    folder: str | Path,
    *,
    seed: int = 0,
    batch_prompts: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> RolloutRun:
    """Draw completions, reward them and write them, from where an earlier run ended.

    Parameters
    ----------
    model : LanguageModel
        The reference.
    reward : callable, or dict of str to callable
        Reward functions in TRL's signature. Several are written under their names, and their sum as ``reward``.
    prompts : sequence, or Prompts
        Texts, chat messages, or rows with a ``prompt`` and columns that rewards need.
    n : int
        Completions of each.
    folder : str or Path
        Where the shards go; made if there is none. One run at a time.
    seed : int
        With the place of a prompt in the list it names the random stream of its completions.
    batch_prompts : int, optional
        Prompts of a shard; by default so many that it has about 2,048 rows.
    progress : callable, optional
        Told after every shard how far the run is.

    Returns
    -------
    RolloutRun
        What is on disk.

    Raises
    ------
    InputError
        If the folder holds a run with another model, reward, seed, n or list of prompts.
    FileError
        If the folder cannot be written.

    Notes
    -----
    A shard appears under its name when it is whole. Killed at any moment, a run loses at most the batches in work; the
    same call again draws those, with the same random streams, and repeats nothing that is there. Rewards are computed
    while the next batch is drawn.
    """
    listed = prompts if isinstance(prompts, Prompts) else Prompts.of(prompts)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"n must be a number of completions, at least 1; found {n!r}.")
    size = batch_prompts or max(1, _ROWS // n)
    place = Path(folder)
    plan = _Plan(model=model, reward=reward, prompts=listed, n=int(n), seed=seed, size=size, folder=place)
    plan.claim()
    return plan.run(progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    model: LanguageModel
    reward: Reward | dict[str, Reward]
    prompts: Prompts
    n: int
    seed: int
    size: int
    folder: Path

    def claim(self) -> None:
        """Write down what is drawn here, or refuse a folder in which something else is."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in self.folder.glob(".part-*.part"):  # of a run that was killed while it wrote
                left.unlink()
            manifest = self.folder / _MANIFEST
            if not manifest.exists():
                _write_whole(manifest, json.dumps(self.manifest(), indent=1, ensure_ascii=False))
            found = json.loads(manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as reason:
            raise FileError(f"the folder {str(self.folder)!r} cannot be used: {reason}.") from reason
        wanted = json.loads(json.dumps(self.manifest()))
        other = [name for name in wanted if found.get(name) != wanted[name]]
        if other:
            raise InputError(
                f"a folder holds one run; {str(self.folder)!r} was begun with another {', '.join(other)}: "
                f"{found.get(other[0])!r:.120}, now {wanted[other[0]]!r:.120}. Choose another folder."
            )

    def manifest(self) -> dict[str, Any]:
        """Return what makes two runs the same one."""
        content = json.dumps([self.prompts.ids, self.prompts.prompts, self.prompts.columns], default=str)
        return {
            "ref_id": self.model.ref_id,
            "reward_id": self.reward_id,
            "n": self.n,
            "seed": self.seed,
            "batch_prompts": self.size,
            "n_prompts": len(self.prompts),
            "prompts": hashlib.sha256(content.encode()).hexdigest()[:16],
        }

    @property
    def reward_id(self) -> str:
        """Return the names of the reward functions."""
        functions = self.reward if isinstance(self.reward, dict) else {"": self.reward}
        names = [name or name_of(function) for name, function in functions.items()]
        return " + ".join(names)

    def run(self, progress: Callable[[Progress], None] | None) -> RolloutRun:
        """Draw every shard that is not there; one is rewarded and written while the next is drawn."""
        firsts = range(0, len(self.prompts), self.size)
        paths = [self.folder / f"part-{i:05d}.parquet" for i in range(len(firsts))]
        done = {path for path in paths if path.exists()}
        wanted = len(self.prompts) * self.n
        on_disk = sum(self._n_rows(first) for first, path in zip(firsts, paths, strict=True) if path in done)
        new = tokens = failed = 0
        pending: Future[tuple[int, int, int]] | None = None

        def finish(future: Future[tuple[int, int, int]] | None) -> None:
            nonlocal new, tokens, failed
            if future is None:
                return
            counts = future.result()
            new, tokens, failed = new + counts[0], tokens + counts[1], failed + counts[2]
            if progress is not None:
                progress(
                    Progress(n_rows=on_disk + new, n_rows_wanted=wanted, n_tokens=tokens, n_failed=failed)
                )

        with ThreadPoolExecutor(max_workers=1) as pool:
            for first, path in zip(firsts, paths, strict=True):
                if path in done:
                    continue
                rows = slice(first, first + self.size)
                drawn = self._draw(rows)
                finish(pending)
                pending = pool.submit(self._write, rows, drawn, path)
            finish(pending)
        return RolloutRun(
            folder=self.folder, n_rows=on_disk + new, n_new=new, n_tokens=tokens, n_failed=failed
        )

    def _n_rows(self, first: int) -> int:
        return len(self.prompts.prompts[first : first + self.size]) * self.n

    def _draw(self, rows: slice) -> list[list[Completion]]:
        some = self.prompts.prompts[rows]
        streams = [np.random.default_rng([self.seed, rows.start + i]) for i in range(len(some))]
        return self.model.sample(some, self.n, streams)

    def _write(self, rows: slice, drawn: list[list[Completion]], path: Path) -> tuple[int, int, int]:
        """Reward and write one shard; return its numbers of rows, tokens and failures."""
        flat = [completion for group in drawn for completion in group]
        repeated = [i for i in range(len(drawn)) for _ in range(self.n)]
        prompts = [self.prompts.prompts[rows][i] for i in repeated]
        columns = {name: [values[rows][i] for i in repeated] for name, values in self.prompts.columns.items()}
        found = evaluate(self.reward, prompts, [c.text for c in flat], columns)
        total, errors = _total(found)
        table: dict[str, Any] = {
            "prompt_id": [self.prompts.ids[rows][i] for i in repeated],
            "prompt": [as_text(prompt) for prompt in prompts],
            "completion": [c.text for c in flat],
            "reward": total,
            **(found.values if len(found.values) > 1 else {}),
            "log_ref": np.array([c.log_prob for c in flat]),
            "n_tokens": np.array([len(c.ids) for c in flat], dtype=np.int32),
            "truncated": np.array([c.truncated for c in flat]),
            "completion_ids": [list(c.ids) for c in flat],
            "error": errors,
        }
        table |= {name: values for name, values in columns.items() if name not in table}
        metadata = {
            "ref_id": json.dumps(self.model.ref_id, ensure_ascii=False),
            "reward_id": self.reward_id,
            "stopping": "fixed",
        }
        write_columns(table, path, metadata=metadata)
        return len(flat), sum(len(c.ids) for c in flat), sum(error is not None for error in errors)


def _total(found: Evaluated) -> tuple[np.ndarray, list[str | None]]:
    """Return the sum of all rewards of each row, NaN where one is missing, and why."""
    total = np.sum(list(found.values.values()), axis=0)
    per_row = zip(*found.errors.values(), strict=True)
    errors = ["; ".join(e for e in row if e is not None) or None for row in per_row]
    return total, errors


def _write_whole(path: Path, text: str) -> None:
    """Write a small file that appears under its name when it is whole."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
