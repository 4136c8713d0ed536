"""The curve over beta: soft value, mean reward and KL, and where the samples support them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tiltz.inference import Estimate
from tiltz.inference.estimate import assemble
from tiltz.inference.request import Request, check_table, checked_betas, checked_width
from tiltz.inference.support import support_of
from tiltz.kernels import Progress, reduce_groups
from tiltz.outcomes import Outcomes
from tiltz.text import count, number, paragraph, table

if TYPE_CHECKING:
    import altair

    from tiltz.curves.best_of import BestOfN

Floats = npt.NDArray[np.float64]


_COLUMN = {
    "beta": "beta",
    "soft value": "soft_value",
    "interval": "lo",
    "mean reward": "mean_reward",
    "KL": "kl",
    "ess": "ess",
    "reliable": "reliable",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Sweep:
    """Curves over beta, one per prompt.

    Attributes
    ----------
    estimate : Estimate
        Points and intervals at every beta.
    mean_reward : array, shape (n_prompts, n_betas)
        Tilted mean reward; NaN for partial tables, whose unlisted outcomes leave it open.
    kl, kl_reverse : array, shape (n_prompts, n_betas)
        KL(tilted || reference) and KL(reference || tilted) in nats; plug-in values where the table is sampled.
    reliable : array of bool, shape (n_prompts, n_betas)
        Whether the interval has two sides and is at most ``width`` wide; all False without intervals.
    width : float
        In nats.
    """

    estimate: Estimate
    mean_reward: Floats
    kl: Floats
    kl_reverse: Floats
    reliable: npt.NDArray[np.bool_]
    width: float

    @property
    def prompt(self) -> npt.NDArray[Any]:
        """Labels, shape (n_prompts,)."""
        return self.estimate.prompt

    @property
    def beta(self) -> Floats:
        """KL coefficients, shape (n_betas,)."""
        return self.estimate.beta

    @property
    def log_z(self) -> Floats:
        """Points of log Z in nats, shape (n_prompts, n_betas)."""
        return self.estimate.log_z

    @property
    def lo(self) -> Floats:
        """Lower limits of log Z in nats, shape (n_prompts, n_betas)."""
        return self.estimate.lo

    @property
    def hi(self) -> Floats:
        """Upper limits of log Z in nats, shape (n_prompts, n_betas)."""
        return self.estimate.hi

    @property
    def soft_value(self) -> Floats:
        """Soft values in units of reward, shape (n_prompts, n_betas)."""
        return self.estimate.soft_value

    @property
    def ess(self) -> Floats:
        """Kish effective sample sizes, shape (n_prompts, n_betas)."""
        return self.estimate.ess

    @property
    def kind(self) -> npt.NDArray[Any]:
        """What each interval promises, shape (n_prompts, n_betas)."""
        return self.estimate.kind

    @property
    def flags(self) -> npt.NDArray[Any]:
        """Why each number may not be trusted, shape (n_prompts, n_betas)."""
        return self.estimate.flags

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the long table, one row per prompt and beta, as a list per column."""
        columns = self.estimate.to_dict()
        for name in ("mean_reward", "kl", "kl_reverse", "reliable"):
            columns[name] = getattr(self, name).reshape(-1).tolist()
        return columns

    def plot(self, best_of: BestOfN | None = None) -> altair.Chart | altair.VConcatChart | altair.LayerChart:
        """Return a chart of the mean soft value with its interval, and of mean reward against KL.

        Parameters
        ----------
        best_of : BestOfN, optional
            Best-of-n of the same table, drawn beside the curve of reward against KL.

        Returns
        -------
        altair chart
            One above the other.

        Raises
        ------
        MissingExtraError
            If Altair is not installed.
        """
        from tiltz.charts import sweep_chart

        return sweep_chart(self.mean_curve(), None if best_of is None else best_of.mean_curve())

    def mean_curve(self) -> dict[str, list[float]]:
        """Return means over prompts per beta, as a list per column.

        Returns
        -------
        dict of str to list of float
            ``beta, soft_value, lo, hi`` (reward; limits for the population of prompts, of the prompt itself if there
            is one alone), ``mean_reward, kl, ess, reliable`` (share of prompts).
        """
        whole = self.estimate.overall if len(self.prompt) > 1 else self.estimate.overall_these
        curve = {"beta": self.beta, "soft_value": whole.soft_value, "lo": whole.lo, "hi": whole.hi}
        for name in ("mean_reward", "kl", "ess", "reliable"):
            curve[name] = np.asarray(np.mean(getattr(self, name), axis=0, dtype=np.float64))
        return {name: column.tolist() for name, column in curve.items()}

    def summary(self) -> str:
        """Return the mean curve as text of at most 80 columns, one line per beta."""
        curve = self.mean_curve()
        shown = {
            "beta": 4,
            "soft value": 4,
            "interval": 4,
            "mean reward": 4,
            "KL": 3,
            "ess": 3,
            "reliable": 0,
        }
        if np.all(self.kind == "point"):
            del shown["interval"], shown["reliable"]
        cells = {
            header: [number(x, digits) for x in curve[_COLUMN[header]]] for header, digits in shown.items()
        }
        if "interval" in shown:
            limits = zip(curve["lo"], curve["hi"], strict=True)
            cells["interval"] = [f"[{number(lo)}, {number(hi)}]" for lo, hi in limits]
            cells["reliable"] = [f"{share:.0%}" for share in curve["reliable"]]
        headers, rows = list(cells), zip(*cells.values(), strict=True)
        about = f"means over {count(len(self.prompt), 'prompt')}; KL in nats"
        if "reliable" in shown:
            about += "; reliable: share of prompts whose interval has two sides and is at most "
            about += f"{number(self.width)} nats wide"
        notes = [line for note in (about, *self.estimate.notes) for line in paragraph(note)]
        return "\n".join([table(headers, rows, right=range(len(headers))), "", *notes])

    def __repr__(self) -> str:
        span = f"beta {number(float(self.beta.min()))} to {number(float(self.beta.max()))}"
        shape = f"{count(len(self.prompt), 'prompt')} x {count(len(self.beta), 'beta')}"
        return f"Sweep({shape}, {span}, {np.mean(self.reliable):.0%} of the cells reliable)"


def sweep(
    outcomes: Outcomes,
    betas: npt.ArrayLike,
    *,
    level: float = 0.95,
    interval: str | None = "auto",
    reward_range: tuple[float, float] | None = None,
    reward_values: Sequence[float] | None = None,
    width: float = 1.0,
    simultaneous: bool = False,
    rng: np.random.Generator | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Estimate the curve over beta for every prompt.

    Parameters
    ----------
    outcomes : Outcomes
        The evidence.
    betas : array_like, shape (n_betas,)
        KL coefficients, > 0, in reward per nat.
    level, interval, reward_range, reward_values
        As in :func:`tiltz.estimate`. ``interval=None`` computes moments alone.
    width : float, default 1.0
        Widest interval, in nats, that counts as reliable.
    simultaneous : bool, default False
        Whether the limits of a prompt shall hold for all betas together: from one band on the law of the reward where
        few rewards are possible, or for ``interval="band"``; else from betting limits that share the error (without an
        upper one where nothing is declared). The interval of the mean over prompts stays one for each beta.
    rng : numpy.random.Generator, optional
        As in :func:`tiltz.estimate`.
    progress : callable, optional
        As in :func:`tiltz.estimate`.

    Returns
    -------
    Sweep
        Arrays of shape (n_prompts, n_betas).

    Raises
    ------
    InputError
        As :func:`tiltz.estimate` does.

    Examples
    --------
    The soft value falls from the largest reward to the mean reward as beta grows:

    >>> import numpy as np, tiltz
    >>> table = tiltz.Outcomes.complete(np.log([0.6, 0.4]), [2.0, 1.0])
    >>> tiltz.sweep(table, [1e-6, 1.0, 1e6]).soft_value.round(4)
    array([[2.    , 1.7085, 1.6   ]])
    """
    check_table(outcomes)
    checked = checked_betas(betas)
    checked_width(width)
    request = Request(
        level=level,
        interval=interval,
        support=support_of(outcomes, reward_range, reward_values),
        rng=rng,
        simultaneous=simultaneous,
        progress=progress,
    )
    reduced = reduce_groups(outcomes.columns(), checked[None, :], moments=True, progress=request.first_pass)
    found = assemble(outcomes, checked, reduced, request)
    known = outcomes.evidence != "partial"
    moments = {
        name: getattr(reduced, name) if known else np.full_like(found.log_z, np.nan)
        for name in ("mean_reward", "kl", "kl_reverse")
    }
    reliable = reliable_cells(found.lo, found.hi, found.kind, width)
    for array in (reliable, *moments.values()):
        array.setflags(write=False)
    return Sweep(estimate=found, reliable=reliable, width=width, **moments)


def reliable_cells(lo: Floats, hi: Floats, kind: npt.NDArray[Any], width: float) -> npt.NDArray[np.bool_]:
    """Return which intervals have two sides and are at most ``width`` nats wide."""
    with np.errstate(invalid="ignore", over="ignore"):
        # Where log Z has no digits left for a width, limits that agree say nothing.
        told = np.spacing(np.maximum(np.abs(lo), np.abs(hi))) <= width
        # An exact log Z of -inf is known, though inf - inf is not a width.
        narrow = (told & (hi - lo <= width)) | (kind == "exact")
    return narrow & (kind != "lower-only")
