"""What is known exactly: log Z with the error of the arithmetic, and the reason where it is infinite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tiltz.inference import Estimate
from tiltz.inference.cells import Cells
from tiltz.text import number, one_line, paragraph, within

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Known(Estimate):
    """log Z of every prompt at every beta, summed or integrated over the entire domain.

    An :class:`tiltz.Estimate` whose ``kind`` is "exact" ("approximate" where the error is a statistical one), with
    what only the whole domain gives. No sample was drawn: ``ess`` and ``khat`` are NaN where no table of outcomes was
    summed.

    Attributes
    ----------
    mean_reward : array, shape (n_prompts, n_betas)
        Mean reward under the tilted distribution; NaN where Z is infinite, as are ``kl`` and ``kl_reverse``.
    kl, kl_reverse : array, shape (n_prompts, n_betas)
        KL(tilted || reference) and KL(reference || tilted), in nats.
    error : array, shape (n_prompts, n_betas)
        Bound on the error of ``log_z``, in nats; ``lo`` and ``hi`` are ``log_z`` less and plus this.
    beta_min : array, shape (n_prompts,)
        Z is infinite at and below this beta: 0 if it never is, ``inf`` if it always is, NaN if that is not known.
    reason : array of str, shape (n_prompts, n_betas)
        Why Z is infinite, or was not found; else empty.
    """

    mean_reward: Floats
    kl: Floats
    kl_reverse: Floats
    error: Floats
    beta_min: Floats
    reason: npt.NDArray[Any]

    @classmethod
    def of(
        cls,
        *,
        beta: Floats,
        log_z: Floats,
        mean_reward: Floats,
        kl: Floats,
        kl_reverse: Floats,
        error: npt.ArrayLike = 0.0,
        beta_min: npt.ArrayLike = math.nan,
        reason: npt.ArrayLike = "",
        prompt: Sequence[Any] | None = None,
        soft_value: Floats | None = None,
        ess: npt.ArrayLike = math.nan,
        n: npt.ArrayLike = 0,
        kind: str | npt.NDArray[Any] = "exact",
        notes: Sequence[str] = (),
        **more: Any,
    ) -> Self:
        """Return the result of a source; arrays have shape (n_prompts, n_betas) or broadcast to it.

        Parameters
        ----------
        beta : array, shape (n_betas,)
            Checked KL coefficients.
        log_z, mean_reward, kl, kl_reverse, error
            As in the class. Where a reason is given, ``mean_reward``, ``kl`` and ``kl_reverse`` become NaN.
        beta_min : array_like, shape (n_prompts,)
            As in the class.
        reason : array_like of str
            As in the class.
        prompt : sequence, optional
            Labels; by default 0, 1, ...
        soft_value : array, optional
            Where beta times ``log_z`` would lose what ``log_z`` cannot hold.
        ess, n : array_like
            Of a table of outcomes.
        kind : str or array of str
            "exact", or "approximate" where the error is large or holds with a probability only.
        notes : sequence of str
            What a summary must say.
        **more
            Further fields of a subclass.
        """
        shape = log_z.shape
        with np.errstate(over="ignore", invalid="ignore"):
            soft_value = beta * log_z if soft_value is None else soft_value
            bound = np.where(np.isinf(log_z), 0.0, np.broadcast_to(np.asarray(error, dtype=float), shape))
            unknown = np.isnan(log_z)
            limits = (np.where(unknown, -np.inf, log_z - bound), np.where(unknown, np.inf, log_z + bound))
        cells = Cells.of(
            log_z=log_z,
            soft_value=soft_value,
            limits=limits,
            ess=np.asarray(ess, dtype=np.float64),
            kind=kind,
            bias=np.zeros(shape),
        ).arrays()
        reasons = np.broadcast_to(np.asarray(reason, dtype=object), shape)
        # Not where log_z is inf: a finite one may be beyond the largest float.
        known = {
            name: np.where(reasons == "", values, np.nan)
            for name, values in {"mean_reward": mean_reward, "kl": kl, "kl_reverse": kl_reverse}.items()
        }
        per_prompt = {"beta_min": (np.float64, beta_min), "n": (np.int64, n)}
        return cls(
            prompt=np.arange(shape[0]) if prompt is None else _labels(prompt),
            step=None,
            beta=beta,
            level=0.95,
            evidence="complete",
            sure=bool(np.all(np.asarray(kind) == "exact")),
            notes=tuple(notes),
            error=bound,
            reason=reasons,
            **{
                name: np.broadcast_to(np.asarray(v, dtype=t), shape[:1])
                for name, (t, v) in per_prompt.items()
            },
            **known,
            **cells,
            **more,
        )

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the long table of :meth:`tiltz.Estimate.to_dict` with further columns at its end.

        Returns
        -------
        dict of str to list
            Also ``mean_reward, kl, kl_reverse, error, beta_min, reason``.
        """
        further = ("mean_reward", "kl", "kl_reverse", "error")
        return {
            **Estimate.to_dict(self),
            **{name: getattr(self, name).reshape(-1).tolist() for name in further},
            "beta_min": np.repeat(self.beta_min, len(self.beta)).tolist(),
            "reason": self.reason.reshape(-1).tolist(),
        }

    def summary(self, *, max_rows: int | None = 40, these_prompts: bool = False) -> str:
        """Return the result as text of at most 80 columns, with no digit beyond the error.

        Parameters
        ----------
        max_rows : int or None, default 40
            Lines for prompts and betas; None shows all.
        these_prompts : bool, default False
            Show the mean over just these prompts instead of the population that they stand for.

        Returns
        -------
        str
            One line per prompt and beta, the mean over prompts where there are several, and why Z is infinite.
        """
        lines = list(self._table(max_rows))
        if len(self.prompt) > 1:
            lines += ["", *self._overall_lines(these_prompts)]
        infinite = dict.fromkeys(str(reason) for reason in self.reason.reshape(-1) if reason)
        return "\n".join([*lines, *(line for text in (*infinite, *self.notes) for line in paragraph(text))])

    def _soft_limits(self) -> tuple[Floats, Floats]:
        with np.errstate(over="ignore", invalid="ignore"):
            reach = np.where(self.error > 0, self.beta * self.error, 0.0)
        return self.soft_value - reach, self.soft_value + reach

    def _line(self, i: int) -> str:
        cells = [
            f"beta {number(self.beta[j])}: {within(self.log_z[i, j], self.error[i, j])} {self.kind[i, j]}"
            for j in range(min(len(self.beta), 3))
        ]
        more = ["..."] if len(self.beta) > 3 else []
        return f"  {one_line(self.prompt[i])[:40]}: " + "; ".join(cells + more)

    def _headers(self) -> list[str]:
        return ["prompt", "beta", "log Z", "error", "soft value", "mean reward", "KL", "KL reverse"]

    def _row(self, i: int, j: int) -> list[str]:
        error, beta = float(self.error[i, j]), float(self.beta[j])
        relative = error / max(1.0, abs(float(self.log_z[i, j])))
        return [
            str(self.prompt[i]),
            number(beta),
            within(self.log_z[i, j], error),
            number(error, 1),
            within(self.soft_value[i, j], beta * error, at_most=6),
            *(_shown(getattr(self, name)[i, j], relative) for name in ("mean_reward", "kl", "kl_reverse")),
        ]


def _shown(value: float, relative: float) -> str:
    """Return a number whose relative error is about that of log Z, or its error if that is below 1 nat."""
    return within(value, relative * abs(value) if np.isfinite(value) and relative > 0 else 0.0, at_most=4)


def _labels(prompt: Sequence[Any]) -> npt.NDArray[Any]:
    """Return labels as an array; text as objects, since NumPy would pad it all to the longest."""
    labels = np.asarray(prompt)
    return np.array(prompt, dtype=object) if labels.dtype.kind in "US" else labels
