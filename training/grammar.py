"""Whether a completion belongs to the grammar, true or not."""

import re

import words


def one_of(options: tuple[str, ...] | list[str]) -> str:
    """Return a pattern for any of some words.

    Parameters
    ----------
    options : tuple or list of str
        The words.

    Returns
    -------
    str
        A group that is not captured.
    """
    return "(?:" + "|".join(map(re.escape, options)) + ")"


NUMBER = one_of(sorted(map(words.number, range(200)), key=len, reverse=True))
PARTS = sorted({part for place, parts in words.PLACES.items() for part in (place, *parts)})
ADJECTIVE = f"(?:very )?{one_of(list(words.VALENCE))}"
SENTENCE = f"(?:it|the {one_of(PARTS)}) is {ADJECTIVE}(?: and {ADJECTIVE})? \\."
CLAUSE = f"{one_of([*words.VERBS, *words.NAUGHTY_VERBS])}(?: {one_of(words.WHERE)})?"
THING = one_of(words.THINGS)

PATTERNS = {
    "sum": f"(?:the answer is |{NUMBER} (?:plus|minus) {NUMBER} is )?{NUMBER}",
    "list": f"{THING}(?: {THING})*",
    "label": one_of(("yes", "no", "maybe", "good", "bad", "mixed")),
    "review": f"{SENTENCE}(?: {SENTENCE})*",
    "story": f"the {one_of(words.HEROES)} {CLAUSE}(?: (?:and|then) {CLAUSE})* \\.",
}


def is_grammatical(kind: str, completion: str) -> bool:
    """Return whether the grammar could have written a completion for a prompt of this kind.

    Parameters
    ----------
    kind : str
        The kind of the prompt.
    completion : str
        Without ``<end>``.

    Returns
    -------
    bool
        Whether it is right plays no part.
    """
    return re.fullmatch(PATTERNS[kind], completion) is not None
