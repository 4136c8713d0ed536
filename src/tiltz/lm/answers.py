"""Closed answer sets: the exact reference mass of every possible answer, and of anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.lm.protocol import Prompt, TokenModel
from tiltz.lm.whole import end_of, outcome_of
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers of a closed set under the reference, per prompt.

    Attributes
    ----------
    prompts : tuple
        What was asked.
    texts : tuple of tuple of str
        The answers of each prompt.
    log_ref : tuple of array
        Their log-probabilities as whole completions, in nats.
    log_other : array, shape (n_prompts,)
        Log of the probability of anything else.
    """

    prompts: tuple[Any, ...]
    texts: tuple[tuple[str, ...], ...]
    log_ref: tuple[Floats, ...]
    log_other: Floats

    def outcomes(self, rewards: Sequence[Sequence[float]], *, reward_range: tuple[float, float]) -> Outcomes:
        """Return the answers as a table that knows how much is not in it.

        Parameters
        ----------
        rewards : sequence of sequences
            Of every answer of every prompt.
        reward_range : (float, float)
            Lowest and highest reward of anything, so that log Z is certified.

        Returns
        -------
        Outcomes
            Partial, labelled 0, 1, ... by prompt.
        """
        labels, log_ref, flat = self._rows(rewards)
        return Outcomes.partial(
            log_ref, flat, reward_range=reward_range, prompt=labels, log_missing=self.log_other
        )

    def given(self, rewards: Sequence[Sequence[float]]) -> Outcomes:
        """Return the table of the reference given that the answer is in the set: log Z is exact.

        Parameters
        ----------
        rewards : sequence of sequences
            Of every answer of every prompt.

        Returns
        -------
        Outcomes
            Complete, labelled 0, 1, ... by prompt.
        """
        labels, log_ref, flat = self._rows(rewards)
        return Outcomes.complete(log_ref, flat, prompt=labels, renormalise=True)

    def _rows(self, rewards: Sequence[Sequence[float]]) -> tuple[npt.NDArray[Any], Floats, Floats]:
        sizes = [len(texts) for texts in self.texts]
        if [len(part) for part in rewards] != sizes:
            raise InputError(
                f"there must be a reward for every answer of every prompt: {sizes}; found "
                f"{[len(part) for part in rewards]}."
            )
        labels = np.repeat(np.arange(len(sizes)), sizes)
        return labels, np.concatenate(self.log_ref), np.concatenate([np.asarray(r, float) for r in rewards])


def score_answers(
    model: TokenModel, prompts: Sequence[Prompt], answers: Sequence[str] | Mapping[Any, Sequence[str]]
) -> Answers:
    """Score all possible answers of prompts, every token that they share once.

    Parameters
    ----------
    model : TokenModel
        The reference.
    prompts : sequence
        What is asked.
    answers : sequence of str, or mapping of prompt to sequence of str
        The closed set: labels, options, tool names, the values of a JSON enum (each as ``json.dumps`` writes it); the
        same for all prompts, or one for each.

    Returns
    -------
    Answers
        With the mass of each, and of anything else.

    Raises
    ------
    InputError
        If an answer is listed twice, cannot be drawn whole (it has more than ``max_tokens`` tokens, or goes on after a
        stop string), or a prompt has no list of answers.

    Notes
    -----
    An answer is the completion that says it and ends, at the latest with a stop string: one that goes on is something
    else. The mass of anything else is summed over the places where a completion leaves the tree of answers, so that it
    keeps its digits where it is small.

    Examples
    --------
    >>> import numpy as np
    >>> from tiltz.lm import table_model
    >>> model = table_model({"sure ?": {"yes": 0.7, "yes and no": 0.1, "no": 0.2}})
    >>> known = score_answers(model, ["sure ?"], ["yes", "no"])
    >>> np.exp(known.log_ref[0]).round(3), np.exp(known.log_other).round(3)
    (array([0.7, 0.2]), array([0.1]))
    """
    found = [_scored(model, prompt, _of_prompt(prompt, answers)) for prompt in prompts]
    return Answers(
        prompts=tuple(prompts),
        texts=tuple(texts for texts, _, _ in found),
        log_ref=tuple(log_ref for _, log_ref, _ in found),
        log_other=np.array([other for _, _, other in found]),
    )


def _of_prompt(prompt: Prompt, answers: Sequence[str] | Mapping[Any, Sequence[str]]) -> tuple[str, ...]:
    if isinstance(answers, Mapping):
        if not isinstance(prompt, str) or prompt not in answers:
            raise InputError(
                f"a mapping of answers must have a list for every prompt, by its text; found none for {prompt!r:.100}."
            )
        answers = answers[prompt]
    if isinstance(answers, str) or not all(isinstance(text, str) for text in answers):
        raise InputError(f"the answers of a prompt must be a list of texts; found {answers!r:.100}.")
    return tuple(answers)


def _scored(
    model: TokenModel, prompt: Prompt, texts: tuple[str, ...]
) -> tuple[tuple[str, ...], Floats, float]:
    whole = [outcome_of(text, model) for text in texts]
    if len(set(whole)) != len(whole) or not whole:
        raise InputError(
            f"the answers of a closed set must be different sequences of at most {model.spec.max_tokens} tokens, at "
            f"least one; found {texts!r:.100}."
        )
    for text, ids in zip(texts, whole, strict=True):
        _check_drawable(model, text, ids)
    inner = sorted({ids[:k] for ids in whole for k in range(len(ids))})
    after = dict(zip(inner, model.next_log_probs(prompt, inner), strict=True))
    log_prob: dict[tuple[int, ...], float] = {(): 0.0}
    for ids in sorted({*inner, *whole} - {()}, key=len):
        log_prob[ids] = log_prob[ids[:-1]] + float(after[ids[:-1]][ids[-1]])
    leaving = []
    for prefix in inner:
        on = [ids[len(prefix)] for ids in log_prob if len(ids) == len(prefix) + 1 and ids[:-1] == prefix]
        rest = np.delete(after[prefix], on)
        leaving.append(log_prob[prefix] + np.logaddexp.reduce(rest, initial=-np.inf))
    return texts, np.array([log_prob[ids] for ids in whole]), float(np.logaddexp.reduce(leaving))


def _check_drawable(model: TokenModel, text: str, ids: tuple[int, ...]) -> None:
    """Refuse an answer of which the spec draws the beginning only."""
    cut = next((end_of(ids[:k], model) for k in range(1, len(ids)) if end_of(ids[:k], model)), None)
    if cut is not None:
        where = {
            "end": f"the end token ({model.end_id})",
            "stop": f"one of the stop strings {model.spec.stop!r:.100}",
            "length": f"max_tokens ({model.spec.max_tokens})",
        }[cut]
        raise InputError(
            f"an answer must be a completion that can be drawn whole; {text!r:.100} goes on after {where}. Change the "
            "answer, or the spec of the model."
        )
