"""The words of the tiny language: lists, tables of facts and scores, and the vocabulary. No grammar here."""


def listed(text: str) -> tuple[str, ...]:
    """Return the words of a text.

    Parameters
    ----------
    text : str
        Separated by spaces.

    Returns
    -------
    tuple of str
        In the same order.
    """
    return tuple(text.split())


SPECIAL = ("<pad>", "<bos>", "<end>", "<unk>")
PAD, BOS, END, UNK = range(4)

MAX_PROMPT = 20
"""Most tokens in a prompt, ``<bos>`` included."""

MAX_COMPLETION = 24
"""Most tokens in a completion, ``<end>`` included."""

UNITS = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

CATEGORIES = {
    "bird": listed("crow duck eagle goose owl robin swan"),
    "beast": listed("bear cat dog fox goat horse wolf"),
    "fish": listed("carp cod eel herring salmon trout"),
    "fruit": listed("apple cherry fig grape lemon pear plum"),
    "tool": listed("axe drill hammer knife needle saw"),
}
PROPERTIES = {
    "heavy": listed("bear drill goat hammer horse wolf axe salmon"),
    "soft": listed("cat duck fig goose owl plum robin swan"),
    "sharp": listed("axe drill knife needle saw eagle"),
    "sweet": listed("apple cherry fig grape pear plum"),
    "round": listed("apple cherry grape lemon plum"),
}
OPINIONS = ("lucky", "clever", "lonely", "honest", "proud")
THINGS = tuple(sorted(thing for members in CATEGORIES.values() for thing in members))

VALENCE = {
    "lovely": 1.0, "superb": 1.0, "wonderful": 1.0, "perfect": 1.0, "charming": 1.0, "delightful": 1.0,
    "nice": 0.5, "pleasant": 0.5, "tidy": 0.5, "friendly": 0.5, "fresh": 0.5, "warm": 0.5, "cheerful": 0.5,
    "dull": -0.5, "slow": -0.5, "noisy": -0.5, "cold": -0.5, "dirty": -0.5, "stale": -0.5, "gloomy": -0.5,
    "awful": -1.0, "horrible": -1.0, "rude": -1.0, "nasty": -1.0, "dreadful": -1.0, "hopeless": -1.0,
}  # fmt: skip
"""What each adjective of a review is worth."""

KIND_WORDS = tuple(word for word, value in VALENCE.items() if value > 0)
UNKIND_WORDS = tuple(word for word, value in VALENCE.items() if value < 0)

PLACES = {
    "hotel": listed("staff room bed bath breakfast"),
    "cafe": listed("staff soup coffee cake table"),
    "museum": listed("guide hall garden shop painting"),
    "train": listed("staff seat window driver coffee"),
    "market": listed("seller stall cheese bread price"),
    "theatre": listed("actor seat hall play music"),
    "school": listed("teacher hall garden book lesson"),
    "ship": listed("captain bed window soup deck"),
}
"""What is reviewed, and the parts that a review speaks of."""

QUALITIES = {
    "grand": 0.85, "famous": 0.75, "new": 0.7, "small": 0.5, "plain": 0.5, "big": 0.45, "old": 0.35, "cheap": 0.25,
    "dusty": 0.15,
}  # fmt: skip
"""How often an adjective in a review of such a place is a kind one."""

HEROES = listed(
    "king queen knight witch giant dragon miller sailor hunter thief baker prince princess wizard monk"
)
MOODS = ("brave", "merry", "sleepy", "hungry", "quiet", "young")
VERBS = listed(
    "ran walked sang slept danced ate drank laughed jumped swam climbed waited wept smiled dreamed rested "
    "played worked travelled whistled"
)
NAUGHTY_VERBS = ("stole", "lied", "cheated", "shouted", "fought")
WHERE = listed("home away north south outside upstairs alone again all-day all-night")
STORY_LENGTHS = {"short": 0.6, "": 0.38, "long": 0.22}
"""The chance that a story ends after each clause, by the word in the prompt."""

OTHER = listed(
    "-> ? : . what is plus minus work out how much the answer hundred sort copy reverse put in order say again "
    "backwards yes no maybe or a good bad mixed and review describe my view of do you think it very like tell "
    "story about did then"
)


def vocabulary() -> list[str]:
    """Return every token, by its id.

    Returns
    -------
    list of str
        The four special tokens come first.
    """
    parts = [part for parts in PLACES.values() for part in parts]
    groups = (
        SPECIAL, OTHER, UNITS, TENS, THINGS, CATEGORIES, PROPERTIES, OPINIONS, VALENCE, PLACES, parts, QUALITIES,
        HEROES, MOODS, VERBS, NAUGHTY_VERBS, WHERE, ("short", "long"),
    )  # fmt: skip
    return list(dict.fromkeys(word for group in groups for word in group))


def number(n: int) -> str:
    """Return a number from 0 to 199 in words.

    Parameters
    ----------
    n : int
        The number.

    Returns
    -------
    str
        Such as ``"forty two"`` or ``"one hundred seven"``.
    """
    if n >= 100:
        return "one hundred" if n == 100 else f"one hundred {number(n - 100)}"
    if n < 20:
        return UNITS[n]
    tens = TENS[n // 10 - 2]
    return tens if n % 10 == 0 else f"{tens} {UNITS[n % 10]}"
