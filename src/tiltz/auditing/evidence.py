"""Rows of the policy and of the reference side by side, prompt by prompt, in batches of equal sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.request import check_table
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Prompts with the same numbers of rows; ``log_ratio`` is ``log_policy`` less ``log_ref``, in nats.

    Attributes
    ----------
    prompt : int array, shape (n_prompts,)
        Which prompts of the policy's table these are.
    reward, log_ratio : array, shape (n_prompts, n_policy)
        Rows that the policy drew.
    ref_reward : array, shape (n_prompts, n_reference)
        Rows that the reference drew; there may be none.
    ref_log_ratio : array, shape (n_prompts, n_reference), or None
        Where the policy's score of those rows is known.
    """

    prompt: Ints
    reward: Floats
    log_ratio: Floats
    ref_reward: Floats
    ref_log_ratio: Floats | None

    @property
    def n_policy(self) -> int:
        """Rows of each prompt that the policy drew."""
        return self.reward.shape[1]

    @property
    def n_reference(self) -> int:
        """Rows of each prompt that the reference drew."""
        return self.ref_reward.shape[1]

    def parts(self, rows: int) -> Iterator[Batch]:
        """Yield the prompts in parts of about so many rows."""
        size = max(rows // (self.n_policy + self.n_reference), 1)
        for first in range(0, len(self.prompt), size):
            some = slice(first, first + size)
            yield Batch(
                prompt=self.prompt[some],
                reward=self.reward[some],
                log_ratio=self.log_ratio[some],
                ref_reward=self.ref_reward[some],
                ref_log_ratio=None if self.ref_log_ratio is None else self.ref_log_ratio[some],
            )


def batches(policy: Outcomes, reference: Outcomes | None) -> Iterator[Batch]:
    """Yield the prompts of the policy's table, matched by label with those of the reference.

    Raises
    ------
    InputError
        If a table is not what its name says, or a value makes J infinite.
    """
    _check_policy(policy)
    ratio = None if reference is None else _check_reference(reference, policy)
    place = (
        {} if reference is None else {label: i for i, label in enumerate(reference.groups.prompt.tolist())}
    )
    where = np.array([place.get(label, -1) for label in policy.groups.prompt.tolist()])
    if reference is not None and np.all(where < 0):
        raise InputError(
            "policy and reference must hold the same prompts; none of the policy's is in the reference's table. "
            f"The first labels are {policy.prompt[0]!r:.60} and {reference.prompt[0]!r:.60}: use the same "
            "prompt_id or text in both."
        )
    n_policy = policy.groups.size
    n_reference = np.zeros_like(n_policy)
    if reference is not None:
        n_reference[where >= 0] = reference.groups.size[where[where >= 0]]
    sizes, which = np.unique(np.stack([n_policy, n_reference], axis=1), axis=0, return_inverse=True)
    reward, log_ratio = policy.groups.gather(policy.reward), policy.groups.gather(-policy.log_weight)
    for k, (n_here, n_there) in enumerate(sizes.tolist()):
        some = np.flatnonzero(which.reshape(-1) == k)
        own = policy.groups.start[some][:, None] + np.arange(n_here)
        theirs = np.empty((len(some), 0), dtype=np.int64)
        if reference is not None and n_there:
            theirs = reference.groups.start[where[some]][:, None] + np.arange(n_there)
        ref_reward = reward[:0] if reference is None else reference.groups.gather(reference.reward)
        yield Batch(
            prompt=some,
            reward=reward[own],
            log_ratio=log_ratio[own],
            ref_reward=ref_reward[theirs],
            ref_log_ratio=None if ratio is None or not n_there else ratio[theirs],
        )


def _check_policy(policy: Outcomes) -> None:
    check_table(policy)
    if policy.evidence != "sampled" or not policy.weighted:
        raise InputError(
            "an audit needs rows drawn from the policy with their log-probabilities under it and under the reference; "
            f"found {policy!r}. Make the table with Outcomes.sampled(reward, log_ref=..., log_proposal=log_policy), or "
            "read a file that has the columns log_policy and log_ref."
        )
    _check_one_step(policy, "policy")
    _check_finite(policy, policy.reward, "the rewards of the policy's rows", "J is -inf then")
    _check_finite(policy, policy.log_weight, "log_ref of the policy's rows", "KL is infinite then")


def _check_reference(reference: Outcomes, policy: Outcomes) -> Floats | None:
    """Return the log-ratio of the reference's rows prompt by prompt, None where the policy's score is not known."""
    check_table(reference)
    if reference.evidence != "sampled" or reference.weighted:
        raise InputError(
            "reference must hold rows drawn from the reference itself, without importance weights; found "
            f"{reference!r}. Read the file with drawn_from='reference'."
        )
    _check_one_step(reference, "reference")
    _check_finite(reference, reference.reward, "the rewards of the reference's rows", "E_ref[r] is -inf then")
    known = reference.log_densities or {}
    others = [name for name in known if name != "reference"]
    # The only other sampler is the policy, whatever either table calls it.
    name = others[0] if len(others) == 1 else policy.drawn_from
    if "reference" not in known or name not in others:
        return None
    log_ref = known["reference"]
    _check_finite(reference, log_ref, "log_ref of the reference's rows", "it drew them")
    return reference.groups.gather(known[name] - log_ref)


def _check_one_step(table: Outcomes, name: str) -> None:
    if len(set(table.prompt.tolist())) < len(table.prompt):
        raise InputError(
            f"an audit is about one policy; the {name}'s table holds several steps of the same prompt. Read one step."
        )


def _check_finite(table: Outcomes, values: Floats, what: str, why: str) -> None:
    bad = ~np.isfinite(values)
    if np.any(bad):
        i = int(np.argmax(bad))
        raise InputError(
            f"{what} must be finite for an audit ({why}); found {values[i]:g} at row {i}, "
            f"{table.groups.name(int(table.groups.of_row[i]))} ({int(bad.sum()):,} such). Leave the prompt out with "
            "Outcomes.select."
        )
