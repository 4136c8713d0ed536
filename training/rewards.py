"""The true rewards, in plain Python: right or wrong for three kinds, a number in [-1, 1] for the other two."""

from collections.abc import Sequence

import words


def said(completion: str) -> list[str]:
    """Return the words of a completion.

    Parameters
    ----------
    completion : str
        What the model wrote, with or without ``<end>``.

    Returns
    -------
    list of str
        Every word that is not a special token.
    """
    return [word for word in completion.split() if word not in words.SPECIAL]


def is_right(completion: str, answer: Sequence[str]) -> float:
    """Return 1 for an accepted completion, 0 for any other.

    Parameters
    ----------
    completion : str
        What the model wrote.
    answer : sequence of str
        The accepted completions.

    Returns
    -------
    float
        0.0 or 1.0.
    """
    return float(" ".join(said(completion)) in answer)


def kindness(completion: str) -> float:
    """Return how kind a review is.

    Parameters
    ----------
    completion : str
        What the model wrote.

    Returns
    -------
    float
        A fifth of the summed values of its adjectives, cut to [-1, 1]; after "very" an adjective counts half as
        much again. A longer kind review earns more.
    """
    text = said(completion)
    total = sum(
        words.VALENCE.get(word, 0.0) * (1.5 if before == "very" else 1.0)
        for before, word in zip(["", *text], text, strict=False)
    )
    return max(-1.0, min(1.0, total / 5))


def clauses(completion: str) -> float:
    """Return what the clauses of a story earn.

    Parameters
    ----------
    completion : str
        What the model wrote.

    Returns
    -------
    float
        -0.5, plus 0.15 for each clause (each verb), minus 0.3 for each naughty one, cut to [-1, 1]. The same clause
        twice earns twice: a policy can gain by length alone.
    """
    text = said(completion)
    n_naughty = sum(word in words.NAUGHTY_VERBS for word in text)
    n_clauses = n_naughty + sum(word in words.VERBS for word in text)
    return max(-1.0, min(1.0, -0.5 + 0.15 * n_clauses - 0.3 * n_naughty))


def true_reward(kind: str, completion: str, answer: Sequence[str] | None = None) -> float:
    """Return the true reward of a completion.

    Parameters
    ----------
    kind : str
        The kind of its prompt.
    completion : str
        What the model wrote.
    answer : sequence of str or None
        The accepted completions of the prompt, for the kinds that have them.

    Returns
    -------
    float
        In [0, 1] or [-1, 1].
    """
    if kind == "review":
        return kindness(completion)
    if kind == "story":
        return clauses(completion)
    return is_right(completion, answer or ())
