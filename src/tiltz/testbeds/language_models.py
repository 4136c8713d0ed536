"""Whether a language model keeps the promises of its protocol."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.lm import Completion, LanguageModel, TokenModel
from tiltz.lm.protocol import Prompt
from tiltz.lm.whole import end_of

Floats = npt.NDArray[np.float64]

_SAME = 1e-3  # nats: single precision over a few hundred tokens
_SUM = 1e-4  # of probabilities
_MOST = 20_000  # prefixes that are looked at for the total probability


def check_language_model(
    model: LanguageModel, prompts: Sequence[Prompt], *, n: int = 16, rng: np.random.Generator | None = None
) -> None:
    """Try a model against what :class:`tiltz.lm.LanguageModel` promises.

    Parameters
    ----------
    model : LanguageModel
        One's own, or one of tiltz; of a :class:`tiltz.lm.TokenModel` the next-token distributions are tried too.
    prompts : sequence, at least two
        Of different lengths, if possible.
    n : int
        Completions that are drawn of each.
    rng : numpy.random.Generator, optional
        Source of the draws; a fixed one if left out.

    Raises
    ------
    InputError
        If a promise is broken, saying which and for which prompt.

    Notes
    -----
    That own samples score what they were drawn with, alone and among others; that next-token probabilities sum to 1;
    that the end token counts once; that the probability of everything that ends within a few tokens and of all that
    does not sum to 1. Whether draws have the probabilities that they say takes many more draws: see the tests of tiltz.

    Examples
    --------
    >>> from tiltz.lm import table_model
    >>> model = table_model({"toss": {"heads": 0.5, "tails": 0.5}, "die": {"one": 0.25, "one or six": 0.75}})
    >>> check_language_model(model, ["toss", "die"])
    """
    rng = np.random.default_rng(0) if rng is None else rng
    drawn = model.sample(prompts, n, rng)
    if [len(group) for group in drawn] != [n] * len(prompts):
        raise InputError(f"sample must return {n} completions for each of {len(prompts)} prompts.")
    pairs = [(prompt, c) for prompt, group in zip(prompts, drawn, strict=True) for c in group]
    together = model.log_prob([prompt for prompt, _ in pairs], [c.ids for _, c in pairs])
    for (prompt, completion), score in zip(pairs, together, strict=True):
        _check_same(completion.log_prob, score, "a completion must score what it was drawn with", prompt)
    for (prompt, completion), score in list(zip(pairs, together, strict=True))[:: max(n // 4, 1)]:
        alone = float(model.log_prob([prompt], [completion.ids])[0])
        _check_same(alone, score, "a completion must score the same alone and among others", prompt)
    if isinstance(model, TokenModel):
        for prompt, group in zip(prompts, drawn, strict=True):
            _check_steps(model, prompt, group[0])
            _check_total(model, prompt)


def _check_steps(model: TokenModel, prompt: Prompt, completion: Completion) -> None:
    """Refuse a whole whose probability is not the product over its tokens, the end token once."""
    prefixes = [completion.ids[:k] for k in range(len(completion.ids))]
    log_probs = model.next_log_probs(prompt, prefixes)
    total = np.exp(log_probs).sum(axis=1)
    if np.any(np.abs(total - 1) > _SUM):
        _refuse("next-token probabilities must sum to 1", prompt, float(total[np.argmax(np.abs(total - 1))]))
    product = float(log_probs[np.arange(len(prefixes)), completion.ids].sum())
    _check_same(product, completion.log_prob, "a completion must have the product of its tokens", prompt)
    if completion.ended == "end" and completion.ids.count(model.end_id) != 1:
        _refuse("the end token must come once, at the end", prompt, completion.ids)


def _check_total(model: TokenModel, prompt: Prompt) -> None:
    """Refuse a prompt for which the scores of what ends within a few tokens, and what goes on, do not sum to 1."""
    ended: list[tuple[int, ...]] = []
    prefixes, mass = [()], np.ones(1)
    for _ in range(model.spec.max_tokens):
        if len(prefixes) * model.vocab_size > _MOST:
            break
        prob = np.exp(model.next_log_probs(prompt, prefixes)) * mass[:, None]
        rows, tokens = np.nonzero(prob)
        longer = [(*prefixes[r], int(t)) for r, t in zip(rows, tokens, strict=True)]
        goes_on = np.array([end_of(ids, model) is None for ids in longer])
        ended += [ids for ids, on in zip(longer, goes_on, strict=True) if not on]
        prefixes = [ids for ids, on in zip(longer, goes_on, strict=True) if on]
        mass = prob[rows, tokens][goes_on]
        if not prefixes:
            break
    total = float(np.exp(model.log_prob([prompt] * len(ended), ended)).sum() + mass.sum())
    if not abs(total - 1) <= _SUM:
        _refuse("the probabilities of all completions must sum to 1", prompt, total)


def _check_same(found: float, wanted: float, promise: str, prompt: Prompt) -> None:
    if found != wanted and not abs(found - wanted) <= _SAME * max(1.0, abs(wanted) * 1e-2):
        _refuse(promise, prompt, f"{found:.6g} and {wanted:.6g}")


def _refuse(promise: str, prompt: Prompt, found: object) -> None:
    raise InputError(f"{promise}; for the prompt {prompt!r:.60} found {found}.")
