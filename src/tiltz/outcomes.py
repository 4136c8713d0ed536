"""The table at which everything meets: rewards, log-weights, and the prompt that each row belongs to.

A source fills it, a use reads it; neither knows of the other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from tiltz.checks import (
    MASS_TOLERANCE,
    as_rows,
    check_declared,
    check_log_probs,
    check_rewards,
    checked_range,
    checked_values,
    frozen,
    missing_mass,
    refuse,
    row_index,
    total_log_mass,
)
from tiltz.errors import InputError
from tiltz.facts import TableFacts
from tiltz.grouping import Groups, group_rows
from tiltz.kernels import Columns

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Outcomes:
    """Outcomes of one or many prompts, and what kind of evidence they are.

    Make one with :meth:`complete`, :meth:`partial`, :meth:`sampled` or :func:`tiltz.read`; arrays are copied and
    read-only, rows stay in the order given.

    Attributes
    ----------
    evidence : {"complete", "partial", "sampled"}
        Whether the rows are the whole domain, a part of it with known mass, or draws.
    reward : array, shape (n_rows,)
        Rewards; ``-inf`` is a hard constraint.
    log_weight : array, shape (n_rows,)
        In nats. Complete and partial: ``log_ref``. Sampled: ``log_ref - log_proposal``, 0 for reference draws.
    groups : Groups
        Which rows belong to which prompt (and step).
    row : int array, shape (n_rows,)
        Index of each row into ``source``.
    drawn_from : str
        The sampler's name, for summaries.
    weighted : bool
        Whether the draws came from a proposal, so that they carry importance weights.
    stopping : {"fixed", "adaptive"}
        Whether the number of samples was fixed before looking at the rewards.
    reward_range, reward_values : tuple of float or None
        What was declared about every possible reward, seen or not.
    log_missing : array, shape (n_prompts,) or None
        Partial: log of the reference mass of the unlisted outcomes, in nats.
    remainder : Outcomes or None
        Partial: draws from the unlisted outcomes.
    log_densities : dict of str to array, or None
        Samples: log-probability of every row, in nats, under each sampler by name and under the reference, as far as
        they are known.
    sampler : int array, shape (n_rows,), or None
        Pooled samples (:func:`tiltz.pool`): which sampler drew each row, as a position in ``log_densities``.
    facts : TableFacts
        What the whole table shows, kept when prompts are selected.
    source : object or None
        Where text and metadata of the rows live.
    """

    evidence: Literal["complete", "partial", "sampled"]
    reward: Floats
    log_weight: Floats
    groups: Groups
    row: Ints
    drawn_from: str = "reference"
    weighted: bool = False
    stopping: Literal["fixed", "adaptive"] = "fixed"
    reward_range: tuple[float, float] | None = None
    reward_values: tuple[float, ...] | None = None
    log_missing: Floats | None = None
    remainder: Outcomes | None = None
    log_densities: dict[str, Floats] | None = None
    sampler: Ints | None = None
    facts: TableFacts
    source: Any = None

    @classmethod
    def complete(
        cls,
        log_ref: npt.ArrayLike,
        reward: npt.ArrayLike,
        *,
        prompt: Any = None,
        renormalise: bool = False,
        source: Any = None,
    ) -> Self:
        """Return a table whose rows are the whole domain of each prompt.

        Parameters
        ----------
        log_ref : array_like, shape (n_rows,) or (n_prompts, n_outcomes)
            Log-probabilities under the reference, in nats, summing to mass 1 for each prompt.
        reward : array_like
            Rewards, same shape.
        prompt : array_like, optional
            Label of each row (1-D) or of each prompt (2-D): strings or integers.
        renormalise : bool, default False
            Divide by the total mass instead of refusing one that is not 1.
        source : object, optional
            Where the rows came from.

        Returns
        -------
        Outcomes
            With ``log_weight`` normalised, so that a mass within 1e-9 of 1 is exactly 1.

        Raises
        ------
        InputError
            If the mass of a prompt differs from 1 by more than 1e-9 and ``renormalise`` is not set, or a
            value is not legal.

        Examples
        --------
        >>> import numpy as np, tiltz
        >>> table = tiltz.Outcomes.complete(np.log([0.6, 0.4]), [2.0, 1.0])
        >>> float(np.exp(float(tiltz.estimate(table, beta=1.0)))).__round__(4)
        5.5207
        """
        rewards, log_probs, labels = as_rows(prompt, reward=reward, log_ref=log_ref)
        groups = group_rows(labels)
        check_rewards(rewards, groups)
        check_log_probs(log_probs, groups, "log_ref")
        log_mass = total_log_mass(log_probs, groups)
        with np.errstate(over="ignore"):
            off = np.abs(np.expm1(log_mass))
        if not renormalise and np.any(off > MASS_TOLERANCE):
            worst = int(np.argmax(off > MASS_TOLERANCE))
            raise InputError(
                f"the outcomes of a complete table must have reference mass 1 within {MASS_TOLERANCE:g}; those of "
                f"{groups.name(worst)} have mass {math.exp(min(log_mass[worst], 700.0)):.12g}. If they are a part of "
                "the domain, use Outcomes.partial; if log_ref is unnormalised, pass renormalise=True."
            )
        if np.any(log_mass == -np.inf):
            empty = groups.name(int(np.argmax(log_mass == -np.inf)))
            raise InputError(f"at least one outcome must have reference mass above 0; {empty} has none.")
        return cls(
            evidence="complete",
            reward=frozen(rewards),
            log_weight=frozen(_normalised(log_probs, groups)),
            groups=groups,
            row=frozen(np.arange(len(rewards))),
            facts=TableFacts.of(rewards, groups),
            source=source,
        )

    @classmethod
    def partial(
        cls,
        log_ref: npt.ArrayLike,
        reward: npt.ArrayLike,
        *,
        reward_range: tuple[float, float],
        prompt: Any = None,
        log_missing: npt.ArrayLike | None = None,
        remainder: Outcomes | None = None,
        source: Any = None,
    ) -> Self:
        """Return a table of distinct outcomes whose reference mass sums to less than 1.

        Parameters
        ----------
        log_ref : array_like, shape (n_rows,) or (n_prompts, n_outcomes)
            Log-probabilities under the reference, in nats.
        reward : array_like
            Rewards, same shape.
        reward_range : (float, float)
            Lowest and highest reward that any outcome can have, listed or not.
        prompt : array_like, optional
            Label of each row (1-D) or of each prompt (2-D): strings or integers.
        log_missing : array_like, shape (n_prompts,), optional
            Log of the mass of the unlisted outcomes, in nats, in the order in which the prompts first appear.
            Worth giving where it is small, since 1 minus the listed mass cancels.
        remainder : Outcomes, optional
            Draws from the reference restricted to the unlisted outcomes, for the same prompts.
        source : object, optional
            Where the rows came from.

        Returns
        -------
        Outcomes
            Whose log Z has certified bounds: listed mass, plus missing mass times the reward range.

        Raises
        ------
        InputError
            If the listed mass of a prompt exceeds 1, a reward is outside ``reward_range``, or a value is not
            legal.
        """
        rewards, log_probs, labels = as_rows(prompt, reward=reward, log_ref=log_ref)
        groups = group_rows(labels)
        check_rewards(rewards, groups)
        check_log_probs(log_probs, groups, "log_ref")
        declared = checked_range(reward_range)
        check_declared(rewards, groups, declared, None)
        log_listed = total_log_mass(log_probs, groups)
        missing = missing_mass(log_listed, groups, log_missing)
        log_total = np.logaddexp(log_listed, missing)
        if remainder is not None:
            _check_remainder(remainder, groups)
        return cls(
            evidence="partial",
            reward=frozen(rewards),
            log_weight=frozen(log_probs - log_total[groups.of_row]),
            groups=groups,
            row=frozen(np.arange(len(rewards))),
            reward_range=declared,
            log_missing=frozen(missing - log_total),
            remainder=remainder,
            facts=TableFacts.of(rewards, groups),
            source=source,
        )

    @classmethod
    def sampled(
        cls,
        reward: npt.ArrayLike,
        *,
        prompt: Any = None,
        step: npt.ArrayLike | None = None,
        log_ref: npt.ArrayLike | None = None,
        log_proposal: npt.ArrayLike | None = None,
        log_densities: Mapping[str, npt.ArrayLike] | None = None,
        drawn_from: str | None = None,
        stopping: Literal["fixed", "adaptive"] = "fixed",
        reward_range: tuple[float, float] | None = None,
        reward_values: Sequence[float] | None = None,
        row: npt.ArrayLike | None = None,
        source: Any = None,
    ) -> Self:
        """Return a table of draws from the reference, or from a proposal with known log-probabilities.

        Parameters
        ----------
        reward : array_like, shape (n_rows,) or (n_prompts, n_samples)
            Rewards of the draws.
        prompt : array_like, optional
            Label of each row (1-D, any order) or of each prompt (2-D): strings or integers. Left out, a 1-D array
            is one prompt.
        step : array_like of int, shape (n_rows,), optional
            Training step of each row; a group is then one step and prompt.
        log_ref, log_proposal : array_like, optional
            Log-probability (density) of each whole outcome under the reference and under the proposal that drew
            it, in nats, same shape as ``reward``. Without ``log_proposal``, the rows were drawn from the reference.
        log_densities : mapping of str to array_like, optional
            Log-probability of each outcome under other samplers, by the names that they have as ``drawn_from`` of
            their own tables: what :func:`tiltz.pool` needs to know of the rows.
        drawn_from : str, optional
            Name of the sampler, for summaries and for pooling.
        stopping : {"fixed", "adaptive"}
            Whether the number of samples was fixed before any reward was seen.
        reward_range : (float, float), optional
            Declares the lowest and highest reward that any outcome can have.
        reward_values : sequence of float, optional
            Declares all rewards that any outcome can have.
        row : array_like of int, shape (n_rows,), optional
            Index of each row into ``source``; its position by default.
        source : object, optional
            Where the rows came from.

        Returns
        -------
        Outcomes
            Sampled evidence.

        Raises
        ------
        InputError
            If a value is not legal, naming the first bad row and its prompt.

        Examples
        --------
        >>> import tiltz
        >>> tiltz.Outcomes.sampled([0, 1, 0, 0], prompt=["a", "a", "b", "b"])
        Outcomes(sampled, 4 rows, 2 prompts, drawn from the reference)
        """
        weighted = log_proposal is not None
        if weighted and log_ref is None:
            raise InputError(
                "draws from a proposal need log_ref beside log_proposal, since their weight is the ratio of the two."
            )
        name = drawn_from or ("proposal" if weighted else "reference")
        others = _names_of_others(log_densities or {}, name)
        given = {"log_ref": log_ref, "log_proposal": log_proposal, **others}
        ratio = {column: values for column, values in given.items() if values is not None}
        rewards, *log_probs, labels = as_rows(prompt, reward=reward, **ratio)
        groups = group_rows(labels, None if step is None else np.asarray(step))
        check_rewards(rewards, groups)
        log_weight = np.broadcast_to(0.0, rewards.shape)
        for column, log_prob in zip(ratio, log_probs, strict=True):
            check_log_probs(log_prob, groups, column)
        if weighted:
            what = "log_proposal must be above -inf for an outcome that was drawn"
            refuse(log_probs[1] == -np.inf, groups, what)
            with np.errstate(over="ignore"):
                log_weight = frozen(log_probs[0] - log_probs[1])
            refuse(log_weight == np.inf, groups, "log_ref less log_proposal must be a float", log_probs[0])
        declared_range = None if reward_range is None else checked_range(reward_range)
        declared_values = None if reward_values is None else checked_values(reward_values)
        check_declared(rewards, groups, declared_range, declared_values)
        if stopping not in ("fixed", "adaptive"):
            raise InputError(f"stopping must be 'fixed' or 'adaptive'; found {stopping!r}.")
        return cls(
            evidence="sampled",
            reward=frozen(rewards),
            log_weight=log_weight,
            groups=groups,
            row=frozen(np.arange(len(rewards)) if row is None else row_index(row, len(rewards))),
            drawn_from=name,
            weighted=weighted,
            stopping=stopping,
            reward_range=declared_range,
            reward_values=declared_values,
            log_densities=_by_sampler(
                dict(zip(ratio, log_probs, strict=True)), name, tuple(log_densities or ())
            ),
            facts=TableFacts.of(rewards, groups),
            source=source,
        )

    @property
    def prompt(self) -> npt.NDArray[Any]:
        """Labels of the prompts in order of first appearance, shape (n_prompts,)."""
        return self.groups.prompt

    @property
    def step(self) -> Ints | None:
        """Training step of each group, shape (n_prompts,), or None."""
        return self.groups.step

    @property
    def n(self) -> Ints:
        """Rows per prompt, shape (n_prompts,)."""
        return self.groups.size

    @property
    def log_listed(self) -> Floats:
        """Log of the reference mass of the rows of each prompt, in nats, shape (n_prompts,); not for samples."""
        return total_log_mass(self.log_weight, self.groups)

    def __len__(self) -> int:
        return len(self.reward)

    def __repr__(self) -> str:
        drawn = f", drawn from the {self.drawn_from}" if self.evidence == "sampled" else ""
        rows = f"{len(self)} row{'s'[: len(self) != 1]}"
        prompts = f"{len(self.prompt)} prompt{'s'[: len(self.prompt) != 1]}"
        return f"Outcomes({self.evidence}, {rows}, {prompts}{drawn})"

    def select(self, keep: npt.ArrayLike) -> Self:
        """Return the table of some of the prompts.

        Parameters
        ----------
        keep : array_like
            A mask of shape (n_prompts,), or labels of prompts.

        Returns
        -------
        Outcomes
            With the facts of the whole table, so that a prompt's estimate does not depend on the selection.

        Raises
        ------
        InputError
            If a label is unknown or nothing is left.
        """
        mask = self.groups.mask(keep)
        rows = mask[self.groups.of_row]
        return dataclasses.replace(
            self,
            reward=frozen(self.reward[rows]),
            log_weight=frozen(self.log_weight[rows]),
            groups=self.groups.select(mask),
            row=frozen(self.row[rows]),
            log_densities=self.log_densities
            and {name: frozen(values[rows]) for name, values in self.log_densities.items()},
            sampler=None if self.sampler is None else frozen(self.sampler[rows]),
            log_missing=None if self.log_missing is None else frozen(self.log_missing[mask]),
            remainder=None if self.remainder is None else self.remainder.select(self.prompt[mask]),
        )

    def columns(self) -> Columns:
        """Return the rows grouped, as the kernels read them.

        Returns
        -------
        Columns
            Of a partial table: the reference given that an outcome is listed.
        """
        groups = self.groups
        log_mass, log_count = self.log_weight, None
        if self.evidence == "sampled":
            log_count = np.log(groups.size)
            log_mass = log_mass - log_count[groups.of_row]
        if self.evidence == "partial":
            listed = self.log_listed
            log_mass = log_mass - np.where(np.isneginf(listed), 0.0, listed)[groups.of_row]
        return Columns(
            reward=groups.gather(self.reward),
            log_mass=groups.gather(log_mass),
            log_count=log_count,
            start=groups.start,
            normalised=not self.weighted,
        )


def _normalised(log_ref: Floats, groups: Groups) -> Floats:
    """Return log-masses that sum to mass 1 in every group; scores of any size keep their differences."""
    top = np.maximum.reduceat(groups.gather(log_ref), groups.start[:-1])
    shifted = log_ref - top[groups.of_row]
    return shifted - total_log_mass(shifted, groups)[groups.of_row]


def _names_of_others(log_densities: Mapping[str, npt.ArrayLike], own: str) -> dict[str, npt.ArrayLike]:
    """Return log-probabilities under other samplers by what messages call them."""
    for name in log_densities:
        if name in ("reference", own):
            raise InputError(
                "log_densities holds log-probabilities under other samplers; those of the reference are log_ref, those "
                f"of the sampler that drew the rows ({own!r}) log_proposal. Found {name!r} among them."
            )
    return {f"log_densities[{name!r}]": values for name, values in log_densities.items()}


def _by_sampler(columns: dict[str, Floats], own: str, others: tuple[str, ...]) -> dict[str, Floats] | None:
    """Return what is known of the rows' log-probabilities by sampler, None where nothing is."""
    if own == "reference" and "log_proposal" in columns:
        return None  # one name cannot stand for two laws
    names = {"log_ref": "reference", "log_proposal": own} | {
        f"log_densities[{name!r}]": name for name in others
    }
    found = {names[column]: frozen(values) for column, values in columns.items()}
    return found or None


def _check_remainder(remainder: Outcomes, groups: Groups) -> None:
    if remainder.evidence != "sampled":
        raise InputError(
            f"remainder must be sampled from the unlisted outcomes; found a {remainder.evidence} table."
        )
    if not np.array_equal(remainder.prompt, groups.prompt):
        raise InputError(
            "remainder must hold draws for the same prompts in the same order as the listed outcomes; "
            f"found {len(remainder.prompt)} prompts against {len(groups.prompt)}, or other labels."
        )
