"""The grammar: random prompts of five kinds, a random completion for each, and the prompts that are held out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import words

KINDS = ("sum", "list", "label", "review", "story")

SEED_HELD_OUT = 11
SEED_CORPUS = 12
N_EXAMPLES = 80_000
N_HELD_OUT = 48
"""Held-out prompts of each kind."""

ACCURACY = {"easy": 0.9, "medium": 0.5, "hard": 0.1, "impossible": 0.0}
"""How often a completion in the corpus is right, for the kinds that have a right answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt, and what is known of its completions.

    Parameters
    ----------
    prompt : str
        Words, separated by single spaces.
    kind : str
        One of `KINDS`.
    difficulty : str
        ``"easy"``, ``"medium"``, ``"hard"`` or ``"impossible"``.
    answer : tuple of str or None
        The completions that are right; None where the reward is not right or wrong.
    options : tuple of str or None
        The closed set of answers, where there is one.
    detail : tuple
        What the grammar needs to complete the prompt.
    """

    prompt: str
    kind: str
    difficulty: str
    answer: tuple[str, ...] | None = None
    options: tuple[str, ...] | None = None
    detail: tuple = ()


# Sums and differences


def operands(rng: Random, difficulty: str) -> tuple[int, str, int]:
    """Return two numbers and the word between them.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    difficulty : str
        How large the numbers are; ``"impossible"`` has a result above 99.

    Returns
    -------
    tuple
        First number, ``"plus"`` or ``"minus"``, second number.
    """
    plus = rng.random() < 0.5
    if difficulty == "easy":
        a, b = rng.randint(0, 10), rng.randint(0, 10)
        return (a, "plus", b) if plus else (max(a, b), "minus", min(a, b))
    if difficulty == "medium":
        return rng.randint(11, 30), "plus" if plus else "minus", rng.randint(2, 9)
    if difficulty == "hard":
        a = rng.randint(21, 49) if plus else rng.randint(51, 100)
        return a, "plus" if plus else "minus", rng.randint(21, 49)
    return rng.randint(60, 99), "plus", rng.randint(41, 99)


def sum_forms(a: int, sign: str, b: int, result: int) -> tuple[str, ...]:
    """Return the ways to state a result.

    Parameters
    ----------
    a : int
        The first number.
    sign : str
        ``"plus"`` or ``"minus"``.
    b : int
        The second number.
    result : int
        The number to state, right or wrong.

    Returns
    -------
    tuple of str
        Three completions.
    """
    said = words.number(result)
    return said, f"the answer is {said}", f"{words.number(a)} {sign} {words.number(b)} is {said}"


def sum_prompt(rng: Random, difficulty: str) -> Prompt:
    """Return a question about a sum or a difference.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    difficulty : str
        One of the four.

    Returns
    -------
    Prompt
        Its `answer` holds every accepted form.
    """
    a, sign, b = operands(rng, difficulty)
    asked = f"{words.number(a)} {sign} {words.number(b)}"
    form = rng.choice(("what is {} ? ->", "{} is ->", "work out {} . ->", "how much is {} ? ->"))
    result = a + b if sign == "plus" else a - b
    answer = sum_forms(a, sign, b, result)
    return Prompt(
        prompt=form.format(asked),
        kind="sum",
        difficulty=difficulty,
        answer=answer,
        detail=(a, sign, b, result),
    )


def sum_completion(rng: Random, prompt: Prompt) -> str:
    """Return an answer that is right as often as the difficulty says.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    prompt : Prompt
        A question of kind ``"sum"``.

    Returns
    -------
    str
        The completion.
    """
    a, sign, b, result = prompt.detail
    if rng.random() >= ACCURACY[prompt.difficulty]:
        result = near_miss(rng, result, prompt.difficulty)
    return rng.choices(sum_forms(a, sign, b, result), weights=(2, 1, 1))[0]


def near_miss(rng: Random, result: int, difficulty: str) -> int:
    """Return a wrong number from 0 to 99, near the right one where that is possible.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    result : int
        The right number.
    difficulty : str
        Answers to harder questions miss by more.

    Returns
    -------
    int
        Never `result`.
    """
    steps = {"easy": (-1, 1), "medium": (-2, -1, 1, 2), "impossible": range(-140, 0)}
    step = steps.get(difficulty, (-11, -10, -9, -3, -2, -1, 1, 2, 3, 9, 10, 11))
    wrong = [result + s for s in step if 0 <= result + s <= 99]
    return rng.choice(wrong if difficulty != "impossible" else [n for n in wrong if n >= 60])


# Lists to copy, reverse or sort


LIST_TASKS = {
    "easy": (("copy", (2, 3, 4)), ("sort", (2,))),
    "medium": (("reverse", (2, 3, 4)), ("sort", (3,))),
    "hard": (("reverse", (5, 6)), ("sort", (4, 5))),
}
LIST_FORMS = {
    "copy": ("copy : {} ->", "say again : {} ->"),
    "reverse": ("reverse : {} ->", "say backwards : {} ->"),
    "sort": ("sort : {} ->", "put in order : {} ->"),
}


def list_prompt(rng: Random, difficulty: str) -> Prompt:
    """Return a list of words with something to do to it.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    difficulty : str
        ``"easy"``, ``"medium"`` or ``"hard"``.

    Returns
    -------
    Prompt
        Its `answer` holds one list.
    """
    task, sizes = rng.choice(LIST_TASKS[difficulty])
    items = rng.sample(words.THINGS, rng.choice(sizes))
    right = {"copy": items, "reverse": items[::-1], "sort": sorted(items)}[task]
    form = rng.choice(LIST_FORMS[task])
    return Prompt(
        prompt=form.format(" ".join(items)),
        kind="list",
        difficulty=difficulty,
        answer=(" ".join(right),),
        detail=tuple(right),
    )


def list_completion(rng: Random, prompt: Prompt) -> str:
    """Return the list, with a slip as often as the difficulty says.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    prompt : Prompt
        A task of kind ``"list"``.

    Returns
    -------
    str
        The completion; a slip swaps two words, leaves one out or doubles one.
    """
    items = list(prompt.detail)
    if rng.random() < ACCURACY[prompt.difficulty]:
        return " ".join(items)
    i = rng.randrange(len(items) - 1)
    slip = rng.random()
    if slip < 0.6:
        items[i], items[i + 1] = items[i + 1], items[i]
    elif slip < 0.8:
        del items[i]
    else:
        items.insert(i, items[i])
    return " ".join(items)


# Labels from a closed set


def fact_question(rng: Random, difficulty: str) -> Prompt:
    """Return a question whose answer is yes, no or maybe.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    difficulty : str
        Easy asks for a category, medium for a property, hard for an opinion (the right answer is maybe).

    Returns
    -------
    Prompt
        With three `options`.
    """
    thing = rng.choice(words.THINGS)
    table = words.CATEGORIES if difficulty == "easy" else words.PROPERTIES
    asked = rng.choice(words.OPINIONS if difficulty == "hard" else list(table))
    if difficulty != "hard" and rng.random() < 0.4:
        asked = next((name for name, members in table.items() if thing in members), asked)
    right = "maybe" if difficulty == "hard" else ("yes" if thing in table[asked] else "no")
    said = f"a {asked}" if difficulty == "easy" else asked
    form = rng.choice(
        ("is the {} {} ? ->", "yes no or maybe : is the {} {} ? ->", "do you think the {} is {} ? ->")
    )
    return label(form.format(thing, said), difficulty, right, ("yes", "no", "maybe"))


def mood_question(rng: Random, difficulty: str) -> Prompt:
    """Return two remarks to be called good, bad or mixed.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    difficulty : str
        Hard remarks disagree (the right answer is mixed), easy and medium ones agree.

    Returns
    -------
    Prompt
        With three `options`.
    """
    parts = rng.sample(words.PLACES[rng.choice(list(words.PLACES))], 2)
    pools = [words.KIND_WORDS, words.UNKIND_WORDS]
    rng.shuffle(pools)
    first, second = (pools[0], pools[1]) if difficulty == "hard" else (pools[0], pools[0])
    right = "mixed" if difficulty == "hard" else ("good" if first is words.KIND_WORDS else "bad")
    very = "very " if difficulty == "medium" else ""
    remarks = f"the {parts[0]} is {very}{rng.choice(first)} and the {parts[1]} is {rng.choice(second)}"
    return label(f"{remarks} . good bad or mixed ? ->", difficulty, right, ("good", "bad", "mixed"))


def label(prompt: str, difficulty: str, right: str, options: tuple[str, ...]) -> Prompt:
    """Return a prompt of kind ``"label"``.

    Parameters
    ----------
    prompt : str
        The question.
    difficulty : str
        ``"easy"``, ``"medium"`` or ``"hard"``.
    right : str
        The right answer.
    options : tuple of str
        Every answer.

    Returns
    -------
    Prompt
        The question with its closed set.
    """
    return Prompt(
        prompt=prompt, kind="label", difficulty=difficulty, answer=(right,), options=options, detail=(right,)
    )


def label_prompt(rng: Random, difficulty: str) -> Prompt:
    """Return a question with a closed set of answers.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    difficulty : str
        ``"easy"``, ``"medium"`` or ``"hard"``.

    Returns
    -------
    Prompt
        Three in four ask for a fact.
    """
    return (fact_question if rng.random() < 0.75 else mood_question)(rng, difficulty)


def label_completion(rng: Random, prompt: Prompt) -> str:
    """Return an option that is right as often as the difficulty says.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    prompt : Prompt
        A question of kind ``"label"``.

    Returns
    -------
    str
        One of the options.
    """
    right = prompt.detail[0]
    if rng.random() < ACCURACY[prompt.difficulty]:
        return right
    return rng.choice([option for option in prompt.options or () if option != right])


# Reviews


def review_prompt(rng: Random, difficulty: str) -> Prompt:
    """Return a request for a review.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    difficulty : str
        Reviews of hard places are mostly unkind, of easy ones mostly kind.

    Returns
    -------
    Prompt
        With no right answer.
    """
    bounds = {"easy": (0.6, 1), "medium": (0.4, 0.6), "hard": (0, 0.4)}[difficulty]
    quality = rng.choice([q for q, kind in words.QUALITIES.items() if bounds[0] <= kind < bounds[1]])
    place = rng.choice(list(words.PLACES))
    form = rng.choice(
        (
            "review the {} {} : ->", "describe the {} {} . ->", "my view of the {} {} : ->",
            "what do you think of the {} {} ? ->", "tell about the {} {} . ->", "what is the {} {} like ? ->",
        )
    )  # fmt: skip
    return Prompt(
        prompt=form.format(quality, place), kind="review", difficulty=difficulty, detail=(quality, place)
    )


def review_sentence(rng: Random, place: str, kind: float) -> list[str]:
    """Return one sentence of a review.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    place : str
        What is reviewed.
    kind : float
        The chance that an adjective is kind.

    Returns
    -------
    list of str
        Its words, the full stop last.
    """

    def adjective() -> list[str]:
        word = rng.choice(words.KIND_WORDS if rng.random() < kind else words.UNKIND_WORDS)
        return ["very", word] if rng.random() < 0.15 else [word]

    subject = ["it"] if rng.random() < 0.2 else ["the", rng.choice([place, *words.PLACES[place]])]
    sentence = [*subject, "is", *adjective()]
    if rng.random() < 0.35:
        sentence += ["and", *adjective()]
    return [*sentence, "."]


def review_completion(rng: Random, prompt: Prompt) -> str:
    """Return a review of one to five sentences that is kind or unkind throughout, more or less.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    prompt : Prompt
        A request of kind ``"review"``.

    Returns
    -------
    str
        The completion.
    """
    quality, place = prompt.detail
    tone = 0.85 if rng.random() < words.QUALITIES[quality] else 0.15
    said = review_sentence(rng, place, tone)
    while rng.random() < 0.55:
        sentence = review_sentence(rng, place, tone)
        if len(said) + len(sentence) >= words.MAX_COMPLETION:
            break
        said += sentence
    return " ".join(said)


# Stories


def story_prompt(rng: Random, difficulty: str) -> Prompt:
    """Return a request for a story.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    difficulty : str
        Easy asks for a long story, hard for a short one, medium for any.

    Returns
    -------
    Prompt
        With no right answer.
    """
    length = {"easy": "long", "medium": "", "hard": "short"}[difficulty]
    hero, mood = rng.choice(words.HEROES), rng.choice(("", *words.MOODS))
    form = rng.choice(("tell a {} story about the {} {} . ->", "a {} story : what did the {} {} do ? ->"))
    text = " ".join(form.format(length, mood, hero).split())
    return Prompt(prompt=text, kind="story", difficulty=difficulty, detail=(length, hero))


def story_clause(rng: Random) -> list[str]:
    """Return what the hero did next.

    Parameters
    ----------
    rng : Random
        Where the choices come from.

    Returns
    -------
    list of str
        A verb, sometimes with a word for where or when.
    """
    verb = rng.choice(words.NAUGHTY_VERBS if rng.random() < 0.15 else words.VERBS)
    return [verb, rng.choice(words.WHERE)] if rng.random() < 0.2 else [verb]


def story_completion(rng: Random, prompt: Prompt) -> str:
    """Return one sentence with a random number of clauses.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    prompt : Prompt
        A request of kind ``"story"``.

    Returns
    -------
    str
        The completion.
    """
    length, hero = prompt.detail
    said = ["the", hero, *story_clause(rng)]
    while rng.random() >= words.STORY_LENGTHS[length]:
        clause = ["and" if rng.random() < 0.7 else "then", *story_clause(rng)]
        if len(said) + len(clause) + 2 > words.MAX_COMPLETION:
            break
        said += clause
    return " ".join([*said, "."])


# All kinds


MAKE_PROMPT: dict[str, Callable[[Random, str], Prompt]] = {
    "sum": sum_prompt,
    "list": list_prompt,
    "label": label_prompt,
    "review": review_prompt,
    "story": story_prompt,
}
COMPLETE: dict[str, Callable[[Random, Prompt], str]] = {
    "sum": sum_completion,
    "list": list_completion,
    "label": label_completion,
    "review": review_completion,
    "story": story_completion,
}


def difficulties(kind: str) -> tuple[str, ...]:
    """Return the difficulties that a kind has.

    Parameters
    ----------
    kind : str
        One of `KINDS`.

    Returns
    -------
    tuple of str
        Only sums can be impossible.
    """
    return tuple(ACCURACY) if kind == "sum" else ("easy", "medium", "hard")


def held_out() -> list[Prompt]:
    """Return the prompts that the corpus never holds.

    Returns
    -------
    list of Prompt
        `N_HELD_OUT` of each kind, spread evenly over its difficulties, no text twice.
    """
    rng = Random(SEED_HELD_OUT)
    chosen: dict[str, Prompt] = {}
    for kind in KINDS:
        levels = difficulties(kind)
        for level in levels:
            wanted = len(chosen) + N_HELD_OUT // len(levels)
            while len(chosen) < wanted:
                prompt = MAKE_PROMPT[kind](rng, level)
                chosen.setdefault(prompt.prompt, prompt)
    return list(chosen.values())


def training_prompts(rng: Random) -> Iterator[Prompt]:
    """Yield random prompts for ever, the kinds in turn, none of them held out.

    Parameters
    ----------
    rng : Random
        Where the choices come from.

    Yields
    ------
    Prompt
        The next prompt.
    """
    kept_back = {prompt.prompt for prompt in held_out()}
    while True:
        for kind in KINDS:
            prompt = MAKE_PROMPT[kind](rng, rng.choice(difficulties(kind)))
            while prompt.prompt in kept_back:
                prompt = MAKE_PROMPT[kind](rng, prompt.difficulty)
            yield prompt


def examples(n: int = N_EXAMPLES, seed: int = SEED_CORPUS) -> list[tuple[Prompt, str]]:
    """Return the corpus.

    Parameters
    ----------
    n : int
        How many prompts.
    seed : int
        The same seed gives the same corpus.

    Returns
    -------
    list of tuple
        Prompt and completion (without ``<end>``).
    """
    rng = Random(seed)
    prompts = training_prompts(rng)
    return [
        (prompt, COMPLETE[prompt.kind](rng, prompt)) for prompt, _ in zip(prompts, range(n), strict=False)
    ]


def main() -> None:
    """Print the size of the corpus and some of it."""
    pairs = examples()
    n_tokens = sum(2 + len(p.prompt.split()) + len(c.split()) for p, c in pairs)
    print(f"{len(pairs)} examples, {n_tokens} tokens, {len(words.vocabulary())} words")
    for prompt, completion in pairs[:15]:
        print(f"{prompt.kind:7} {prompt.difficulty:10} {prompt.prompt} | {completion} <end>")


if __name__ == "__main__":
    main()
