"""What an estimate is: points, intervals, what they promise, and how to show and export them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError, MissingExtraError
from tiltz.inference.cells import FLAGS
from tiltz.inference.overall import Overall, over_population, over_these
from tiltz.text import count, number, one_line, paragraph, table

if TYPE_CHECKING:
    import pandas
    import pyarrow

Floats = npt.NDArray[np.float64]

_LETTER = dict(zip(FLAGS, "EFSTH2MAOC0", strict=True))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Estimate:
    """log Z of every prompt at every beta.

    Attributes
    ----------
    prompt : array, shape (n_prompts,)
        Labels in order of first appearance.
    step : int array, shape (n_prompts,) or None
        Training step of each group, where the table has several.
    beta : array, shape (n_betas,)
        KL coefficients, in reward per nat.
    n : int array, shape (n_prompts,)
        Rows per prompt.
    level : float
        Confidence level.
    log_z, lo, hi : array, shape (n_prompts, n_betas)
        Point and limits of log Z, in nats.
    soft_value : array, shape (n_prompts, n_betas)
        beta log Z, in units of reward.
    ess : array, shape (n_prompts, n_betas)
        Kish effective sample size of the weights, in [0, n].
    khat : array, shape (n_prompts, n_betas)
        Tail index of the weights; NaN where it would mean nothing (few samples or few distinct ones, exact tables).
    kind : array of str, shape (n_prompts, n_betas)
        What the interval promises: "exact", "certified", "calibrated", "approximate", "pooled", "lower-only", or
        "point".
    flags : array of tuple of str, shape (n_prompts, n_betas)
        Why the number may not be trusted.
    bias : array, shape (n_prompts, n_betas)
        Estimate of E[log Z_hat] - log Z, in nats; negative means that the point is too low, NaN unknown.
    evidence : str
        "complete", "partial" or "sampled".
    sure : bool
        Whether limits hold for sure, not with some probability.
    notes : tuple of str
        What was taken for granted.
    """

    prompt: npt.NDArray[Any]
    step: npt.NDArray[np.int64] | None
    beta: Floats
    n: npt.NDArray[np.int64]
    level: float
    log_z: Floats
    lo: Floats
    hi: Floats
    soft_value: Floats
    ess: Floats
    khat: Floats
    kind: npt.NDArray[Any]
    flags: npt.NDArray[Any]
    bias: Floats
    evidence: str
    sure: bool
    notes: tuple[str, ...]

    @property
    def overall(self) -> Overall:
        """Mean soft value of the population that the prompts are drawn from, per beta."""
        lower, upper = self._soft_limits()
        # The point of a partial table is the middle of its bounds, not an estimate that is biased downward.
        points = lower if self.evidence == "partial" else self.soft_value
        return over_population(self.soft_value, points, lower, upper, kind=self.kind, level=self.level)

    @property
    def overall_these(self) -> Overall:
        """Mean soft value of just these prompts, per beta."""
        lower, upper = self._soft_limits()
        return over_these(self.soft_value, lower, upper, self.kind, sure=self.sure)

    def _soft_limits(self) -> tuple[Floats, Floats]:
        """Return the limits in units of reward; they hold the soft value even where log Z leaves the floats."""
        if self.evidence == "complete":
            return self.soft_value, self.soft_value
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            lower, upper = self.beta * self.lo, self.beta * self.hi
            # NaN, where there are no limits, stays NaN.
            return np.minimum(lower, self.soft_value), np.maximum(upper, self.soft_value)

    def __float__(self) -> float:
        if self.log_z.size != 1:
            raise InputError(
                f"float() needs one prompt and one beta; found {self._shape()}. Read log_z[prompt, beta] instead."
            )
        return float(self.log_z[0, 0])

    def __repr__(self) -> str:
        lines = [f"Estimate of log Z (nats), {self._shape()}, level {self.level:g}"]
        lines += [self._line(i) for i in range(min(len(self.prompt), 10))]
        more = len(self.prompt) - 10
        return "\n".join(lines + ([f"  ... {count(more, 'more prompt')}"] if more > 0 else []))

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the long table, one row per prompt and beta, as a list per column.

        Returns
        -------
        dict of str to list
            ``prompt, step (where there are steps), beta, log_z, lo, hi, level, soft_value, n, ess, khat, kind,
            flags, bias``; prompts in order of first appearance, betas in the order given.
        """
        n_prompts, n_betas = self.log_z.shape
        columns: dict[str, Any] = {"prompt": np.repeat(self.prompt, n_betas)}
        if self.step is not None:
            columns["step"] = np.repeat(self.step, n_betas)
        columns |= {"beta": np.tile(self.beta, n_prompts)}
        columns |= {name: getattr(self, name).reshape(-1) for name in ("log_z", "lo", "hi")}
        columns |= {
            "level": np.full(n_prompts * n_betas, self.level),
            "soft_value": self.soft_value.reshape(-1),
        }
        columns |= {
            "n": np.repeat(self.n, n_betas),
            "ess": self.ess.reshape(-1),
            "khat": self.khat.reshape(-1),
            "kind": self.kind.reshape(-1),
        }
        columns |= {"flags": [list(flags) for flags in self.flags.reshape(-1)], "bias": self.bias.reshape(-1)}
        return {
            name: column if isinstance(column, list) else column.tolist() for name, column in columns.items()
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Return the long table as a pandas data frame."""
        try:
            import pandas
        except ImportError as reason:
            raise MissingExtraError("pandas", "pandas", "to_pandas()") from reason
        return pandas.DataFrame(self.to_dict())

    def to_arrow(self) -> pyarrow.Table:
        """Return the long table as an Arrow table."""
        try:
            import pyarrow
        except ImportError as reason:
            raise MissingExtraError("pyarrow", "arrow", "to_arrow()") from reason
        return pyarrow.table(self.to_dict())

    def summary(self, *, max_rows: int | None = 40, these_prompts: bool = False) -> str:
        """Return the estimate as text of at most 80 columns.

        Parameters
        ----------
        max_rows : int or None, default 40
            Lines for prompts and betas; None shows all.
        these_prompts : bool, default False
            Show the mean over just these prompts instead of the population that they stand for.

        Returns
        -------
        str
            One line per prompt and beta, the mean over prompts, what the intervals promise, and what the flags mean.
        """
        lines = [*self._table(max_rows), "", *self._overall_lines(these_prompts), *self._kind_lines()]
        return "\n".join(lines + self._note_lines())

    def _shape(self) -> str:
        return f"{count(len(self.prompt), 'prompt')} x {count(len(self.beta), 'beta')}"

    def _line(self, i: int) -> str:
        cells = [
            f"beta {number(self.beta[j])}: {number(self.log_z[i, j])} {self._interval(i, j)} {self.kind[i, j]}"
            for j in range(min(len(self.beta), 3))
        ]
        more = ["..."] if len(self.beta) > 3 else []
        return f"  {one_line(self.prompt[i])[:40]}: " + "; ".join(cells + more)

    def _interval(self, i: int, j: int) -> str:
        return f"[{number(self.lo[i, j])}, {number(self.hi[i, j])}]"

    def _table(self, max_rows: int | None) -> list[str]:
        n_prompts, n_betas = self.log_z.shape
        total = n_prompts * n_betas
        shown = total if max_rows is None else min(total, max_rows)
        headers = self._headers()
        rows = (self._row(*divmod(k, n_betas)) for k in range(shown))
        numbers = [k for k, header in enumerate(headers) if header not in ("prompt", "flags")]
        lines = [table(headers, rows, right=numbers)]
        return lines + ([f"... {total - shown:,} more lines of {total:,}"] if shown < total else [])

    def _headers(self) -> list[str]:
        step = [] if self.step is None else ["step"]
        interval = f"{100 * self.level:g}% interval"
        return ["prompt", *step, "beta", "log Z", interval, "soft value", "n", "ess", "flags"]

    def _row(self, i: int, j: int) -> list[str]:
        return [
            str(self.prompt[i]),
            *([] if self.step is None else [str(self.step[i])]),
            number(self.beta[j]),
            number(self.log_z[i, j]),
            self._interval(i, j),
            number(self.soft_value[i, j]),
            str(self.n[i]),
            number(self.ess[i, j], 3),
            "".join(_LETTER[flag] for flag in self.flags[i, j]),
        ]

    def _overall_lines(self, these_prompts: bool) -> list[str]:
        whole = self.overall_these if these_prompts or len(self.prompt) == 1 else self.overall
        of = (
            f"mean soft value over {count(whole.n_prompts, 'prompt')}"
            if whole.n_prompts > 1
            else "soft value"
        )
        lines = []
        for j, beta in enumerate(self.beta):
            line = f"{of}, beta {number(beta)}: {number(whole.soft_value[j])}"
            line += f" [{number(whole.lo[j])}, {number(whole.hi[j])}] {whole.kind[j]}"
            if whole.n_unbounded[j]:
                line += f", {count(int(whole.n_unbounded[j]), 'prompt')} without an upper bound"
            lines += paragraph(line)
        if whole.over == "population":
            lines += paragraph("(the interval is for the population that the prompts stand for)")
        return lines

    def _kind_lines(self) -> list[str]:
        kinds = Counter(self.kind.reshape(-1).tolist())
        return paragraph("intervals: " + ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common()))

    def _note_lines(self) -> list[str]:
        raised = Counter(flag for flags in self.flags.reshape(-1) for flag in flags)
        lines = [line for note in self.notes for line in paragraph(note)]
        for flag, meaning in FLAGS.items():
            if raised[flag]:
                lines += paragraph(f"flag {_LETTER[flag]} {flag} ({raised[flag]:,}): {meaning}")
        return lines
