"""Rewards 0 and 1 for what can be checked: texts, patterns, numbers, JSON, mathematics."""

from __future__ import annotations

import importlib
import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from functools import partial
from typing import Any

from tiltz.errors import InputError, MissingExtraError
from tiltz.rewards.messages import said

# A number with its sign, if that follows no digit or letter, and thousands set apart by commas.
_NUMBER = re.compile(
    r"(?<![\w])(?<![0-9]\.)[-+\u2212]?"
    r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<!\.)\.[0-9]+)(?:[eE][-+]?[0-9]{1,6})?"
)
_WIDE = Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """A reward of 1 for each completion that passes a check, and 0 for the others.

    Attributes
    ----------
    name : str
        Of the reward.
    check : callable
        Takes the text of a completion, and its row's entry of the column if there is one.
    column : str or None
        What the check needs. A row whose entry is None has no reward.
    reward_range, reward_values : (float, float)
        (0, 1).
    """

    name: str
    check: Callable[..., bool]
    column: str | None = None
    reward_range: tuple[float, float] = (0.0, 1.0)
    reward_values: tuple[float, float] = (0.0, 1.0)

    def __call__(self, prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
        """Return 1, 0 or None for each completion."""
        texts = [said(completion) for completion in completions]
        if self.column is None:
            return [float(self.check(text)) for text in texts]
        if self.column not in columns:
            found = ", ".join(columns) or "none"
            raise InputError(f"the reward {self.name} needs the column {self.column!r}; found {found}.")
        pairs = zip(texts, columns[self.column], strict=True)
        return [None if wanted is None else float(self.check(text, wanted)) for text, wanted in pairs]


def exact_match(
    answers: str = "answer", *, fold_whitespace: bool = False, fold_case: bool = False
) -> Verifier:
    r"""Return a reward for completions that are an accepted text.

    Parameters
    ----------
    answers : str
        The column with the accepted text, or a list of them.
    fold_whitespace : bool
        Whether to drop white space at both ends, and count any inside as one space.
    fold_case : bool
        Whether upper and lower case are the same.

    Examples
    --------
    >>> reward = exact_match(fold_whitespace=True)
    >>> reward(["Capital of France?"] * 2, [" Paris\n", "paris"], answer=["Paris", ["Paris", "Paname"]])
    [1.0, 0.0]
    """
    check = partial(_matches_exactly, fold_whitespace=fold_whitespace, fold_case=fold_case)
    return Verifier(name="exact_match", check=check, column=answers)


def matches(pattern: str | re.Pattern[str]) -> Verifier:
    r"""Return a reward for completions in which a regular expression is found.

    Parameters
    ----------
    pattern : str or re.Pattern
        Found anywhere; ``\A`` and ``\Z`` stand for the beginning and the end.

    Raises
    ------
    InputError
        If it is no regular expression.

    Examples
    --------
    >>> matches(r"\A(yes|no)\Z")(["?"] * 2, ["yes", "yes, but"])
    [1.0, 0.0]
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as reason:
        raise InputError(
            f"pattern must be a regular expression ({reason}); found {pattern!r:.100}."
        ) from reason
    return Verifier(name="matches", check=partial(_is_found, compiled))


def number(answers: str = "answer", tolerance: float = 0.0) -> Verifier:
    """Return a reward for completions whose last number is the answer.

    Parameters
    ----------
    answers : str
        The column with the answer: a number, a text whose last number it is, or a list of accepted ones.
    tolerance : float
        How far from it still counts, in absolute terms.

    Raises
    ------
    InputError
        If the tolerance is negative or not finite.

    Notes
    -----
    Numbers are compared as decimals, without rounding at tolerance 0. ``1,234.5`` is one number; a fraction ``1/2``
    is two, of which the last is 2: :func:`math_equal` reads fractions.

    Examples
    --------
    >>> number()(["6 x 7?"] * 2, ["6 x 7 = 42.0.", "42, no, 43"], answer=[42, "#### 42"])
    [1.0, 0.0]
    """
    if not 0 <= tolerance < math.inf:
        raise InputError(f"tolerance must be a finite number of at least 0; found {tolerance!r}.")
    check = partial(_is_near, tolerance=Decimal(str(float(tolerance))))
    return Verifier(name="number", check=check, column=answers)


def valid_json(schema: dict[str, Any] | bool | None = None) -> Verifier:
    """Return a reward for completions that are JSON and nothing else.

    Parameters
    ----------
    schema : dict or bool, optional
        A JSON schema that they must satisfy, too.

    Raises
    ------
    InputError
        If the schema is none.
    MissingExtraError
        If there is a schema and jsonschema is not installed.

    Examples
    --------
    >>> valid_json()(["?"] * 3, ['{"a": 1}', '{"a": NaN}', "It is {}"])
    [1.0, 0.0, 0.0]
    """
    if schema is not None:
        _check_schema(schema)
    return Verifier(name="valid_json", check=partial(_is_json, schema))


def math_equal(answers: str = "answer") -> Verifier:
    r"""Return a reward for completions whose final expression equals the answer, as math-verify reads both.

    Parameters
    ----------
    answers : str
        The column with the answer, or a list of accepted ones: a number, LaTeX, or a text with LaTeX in ``$`` or
        ``\boxed``; other text is read as LaTeX.

    Raises
    ------
    MissingExtraError
        If math-verify is not installed.

    Notes
    -----
    math-verify gives up on an expression after five seconds, but only in the main thread of a process: it has no
    limit in others. An expression that it cannot read or compare is not equal.
    """
    try:
        importlib.import_module("math_verify")
    except ImportError as reason:
        raise MissingExtraError("math-verify", "math", "a check of mathematical answers") from reason
    return Verifier(name="math_equal", check=_equals, column=answers)


def _accepted(wanted: Any) -> list[Any]:
    several = isinstance(wanted, Iterable) and not isinstance(wanted, str | bytes | Mapping)
    return list(wanted) if several else [wanted]


def _matches_exactly(text: str, wanted: Any, *, fold_whitespace: bool, fold_case: bool) -> bool:
    def folded(this: Any) -> str:
        if not isinstance(this, str):
            raise InputError(f"an accepted answer must be a text, or a list of texts; found {this!r:.100}.")
        this = " ".join(this.split()) if fold_whitespace else this
        return this.casefold() if fold_case else this

    return folded(text) in [folded(answer) for answer in _accepted(wanted)]


def _is_found(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.search(text) is not None


def _last_number(text: str) -> Decimal | None:
    found = _NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "").replace("\u2212", "-")) if found else None


def _is_near(text: str, wanted: Any, *, tolerance: Decimal) -> bool:
    last = _last_number(text)
    near = False
    for answer in _accepted(wanted):
        value = _last_number(str(answer))
        if value is None:
            raise InputError(f"an answer must be a number, or a text with one; found {answer!r:.100}.")
        if last is not None:
            near |= last == value or abs(_WIDE.subtract(last, value)) <= tolerance
    return near


def _check_schema(schema: Any) -> None:
    try:
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
    except ImportError as reason:
        raise MissingExtraError("jsonschema", "json", "a check of JSON against a schema") from reason
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as reason:
        raise InputError(
            f"schema must be a JSON schema ({reason.message}); found {schema!r:.100}."
        ) from reason


def _is_json(schema: Any, text: str) -> bool:
    try:
        value = json.loads(text, parse_constant=_not_json)
        if schema is None:
            return True
        from jsonschema.validators import validator_for

        return validator_for(schema)(schema).is_valid(value)
    except (ValueError, RecursionError):
        return False


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _equals(text: str, wanted: Any) -> bool:
    math_verify = importlib.import_module("math_verify")
    in_main = threading.current_thread() is threading.main_thread()
    seconds = _SECONDS if in_main else None  # it raises elsewhere: its clock is a signal
    found = math_verify.parse(text, parsing_timeout=seconds)
    answers = [math_verify.parse(_in_latex(answer), parsing_timeout=seconds) for answer in _accepted(wanted)]
    if not all(answers):
        raise InputError(f"an answer must be a mathematical expression; found {wanted!r:.100}.")
    return any(math_verify.verify(answer, found, timeout_seconds=seconds) for answer in answers)


def _in_latex(answer: Any) -> str:
    # A float's exponent would be read as the constant e.
    text = answer if isinstance(answer, str) else f"{Decimal(str(answer)):f}"
    return text if "$" in text or "\\boxed" in text else f"${text}$"
