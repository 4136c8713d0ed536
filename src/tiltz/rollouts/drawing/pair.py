"""Whether a policy draws outcomes of the reference, and can draw all of them: the same tokens, the same ends."""

from __future__ import annotations

from collections.abc import Sequence

from tiltz.errors import InputError
from tiltz.lm import Completion, LanguageModel


def check_pair(policy: LanguageModel, reference: LanguageModel) -> None:
    """Refuse a policy whose completions end where those of the reference go on, or that leaves some out.

    Parameters
    ----------
    policy : LanguageModel
        What draws.
    reference : LanguageModel
        What scores.

    Raises
    ------
    InputError
        If their longest completions, stop strings or end tokens differ, or the policy draws from the likeliest tokens
        only: what it never draws is missing from every estimate of Z, and nothing in the rows would show it.
    """
    if policy.spec.truncates:
        raise InputError(
            "a policy must be able to draw whatever the reference can, or Z is estimated without what it leaves out; "
            f"found {policy.spec}. Leave top_k, top_p and min_p of the policy out."
        )
    found = [
        {"max_tokens": m.spec.max_tokens, "stop": tuple(m.spec.stop), "end_id": getattr(m, "end_id", None)}
        for m in (policy, reference)
    ]
    for name, ours in found[0].items():
        theirs = found[1][name]
        if ours != theirs and not (name == "end_id" and None in (ours, theirs)):
            raise InputError(
                "policy and reference must end completions in the same way, or what one draws is no outcome of the "
                f"other; {name} of the policy is {ours!r:.100}, of the reference {theirs!r:.100}. Give both the same "
                "max_tokens and stop strings, and take models with one tokenizer."
            )


def check_tokens(
    policy: LanguageModel, reference: LanguageModel, drawn: Sequence[Sequence[Completion]]
) -> None:
    """Refuse completions whose ids say something else to the reference, where both can tell.

    Parameters
    ----------
    policy, reference : LanguageModel
        What drew, and what is to score.
    drawn : sequence of sequences of Completion
        Of the policy.

    Raises
    ------
    InputError
        If an id is beyond the vocabulary of the reference, or the two models read ids as different texts.
    """
    decodes = [getattr(model, "decode", None) for model in (policy, reference)]
    size = getattr(reference, "vocab_size", None)
    for completion in (c for group in drawn for c in group):
        if size is not None and max(completion.ids, default=0) >= size:
            raise InputError(
                f"policy and reference must have the same tokens; the policy drew token {max(completion.ids)}, the "
                f"reference has {size}. Take models with one tokenizer."
            )
        if None not in decodes:
            texts = [decode(completion.ids) for decode in decodes if decode is not None]
            if texts[0] != texts[1]:
                raise InputError(
                    f"policy and reference must have the same tokens; the ids {completion.ids!r:.60} are "
                    f"{texts[0]!r:.80} to the policy and {texts[1]!r:.80} to the reference. Take models with one "
                    "tokenizer."
                )
