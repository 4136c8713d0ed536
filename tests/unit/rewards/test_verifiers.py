"""Rewards 0 and 1: what passes, what does not, and what cannot be checked."""

import pickle
import re
import sys
from types import ModuleType

import numpy as np
import pytest

from tiltz.errors import InputError, MissingExtraError
from tiltz.rewards import evaluate, exact_match, matches, math_equal, number, valid_json


def verdict(reward, text, answer=None):
    (value,) = reward(prompts=["?"], completions=[text], **({} if answer is None else {"answer": [answer]}))
    return value


@pytest.fixture
def fake_math(monkeypatch):
    """A math_verify with the signatures of the real one, which reads texts as Python does."""
    fake = ModuleType("math_verify")
    calls = []

    def parse(pred, *, parsing_timeout=5):
        calls.append(parsing_timeout)
        try:
            return [eval(pred.replace("$", ""), {}, {})]
        except (SyntaxError, NameError):
            return []

    def verify(gold, target, *, timeout_seconds=5):
        calls.append(timeout_seconds)
        return bool(gold and target and gold[0] == target[0])

    fake.parse, fake.verify = parse, verify
    monkeypatch.setitem(sys.modules, "math_verify", fake)
    return calls


@pytest.mark.parametrize(
    ("text", "answer", "options", "wanted"),
    [
        ("Paris", "Paris", {}, 1.0),
        ("paris", "Paris", {}, 0.0),
        (" Paris", "Paris", {}, 0.0),
        ("Paris", ["Rome", "Paris"], {}, 1.0),
        ("Paris", [], {}, 0.0),
        (" New\n York ", "New York", {"fold_whitespace": True}, 1.0),
        ("NewYork", "New York", {"fold_whitespace": True}, 0.0),
        ("STRASSE", "straße", {"fold_case": True}, 1.0),
        ([{"role": "assistant", "content": "Paris"}], "Paris", {}, 1.0),
        ([{"role": "assistant", "content": [{"type": "text", "text": "Paris"}]}], "Paris", {}, 1.0),
        ([{"role": "assistant", "content": None, "tool_calls": []}], "", {}, 1.0),
    ],
)
def test_exact_match(text, answer, options, wanted):
    assert verdict(exact_match(**options), text, answer) == wanted


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("b", "abc", 1.0),
        (r"\Ab", "abc", 0.0),
        (r"<think>.*</think>", "<think>\n</think>", 0.0),
        (re.compile(r"<think>.*</think>", re.DOTALL), "<think>\n</think>", 1.0),
    ],
)
def test_matches(pattern, text, wanted):
    assert verdict(matches(pattern), text) == wanted


@pytest.mark.parametrize(
    ("text", "answer", "wanted"),
    [
        ("6 x 7 = 42.", 42, 1.0),
        ("42, no, 43", 42, 0.0),
        ("no number", 42, 0.0),
        ("", 42, 0.0),
        (r"\boxed{42}", 42.0, 1.0),
        ("$1,234.50", "1234.5", 1.0),
        ("1,2,3", 3, 1.0),
        ("1,2345", 2345, 1.0),
        ("-5", -5, 1.0),
        ("\u22125", -5, 1.0),
        ("10-5", 5, 1.0),
        ("it is .5", 0.5, 1.0),
        ("it is ...5", 5, 1.0),
        ("1.5e-3", 0.0015, 1.0),
        ("0.1", 0.1, 1.0),
        ("12345678901234567891", 12345678901234567890, 0.0),
        ("42 km in section A7", 42, 1.0),
        ("42", "so 6 x 7 = 42\n#### 42", 1.0),
        ("42", [41, "42"], 1.0),
        ("41", np.array([41, 42]), 1.0),
        ("1e999999", "1e999998", 0.0),
    ],
)
def test_number(text, answer, wanted):
    assert verdict(number(), text, answer) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"), [("3.2", 0.0), ("3.1", 1.0), ("3.0", 1.0), ("2.9", 1.0), ("1e999999", 0.0)]
)
def test_number_within_a_tolerance(text, wanted):
    assert verdict(number(tolerance=0.1), text, 3) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (' {"a": [1, null]}\n', 1.0),
        ("3", 1.0),
        ("", 0.0),
        ("{'a': 1}", 0.0),
        ('{"a": 1} so', 0.0),
        ('{"a": Infinity}', 0.0),
        ("[" * 100_000, 0.0),
    ],
)
def test_valid_json(text, wanted):
    assert verdict(valid_json(), text) == wanted


def test_valid_json_with_a_schema():
    reward = valid_json({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}})
    assert [verdict(reward, text) for text in ('{"a": 1}', '{"a": "1"}', "{}", "3", "{")] == [1, 0, 0, 0, 0]


def test_math_equal_hands_over_the_answer_in_latex_and_a_limit_of_time(fake_math):
    reward = math_equal()
    assert [verdict(reward, "1/2", answer) for answer in ("2/4", "$0.5$", 0.5, ["1", "1/2"])] == [1.0] * 4
    assert [verdict(reward, text, "1/2") for text in ("1", "so")] == [0.0, 0.0]
    assert verdict(reward, "0.00001", 1e-05) == 1.0
    assert set(fake_math) == {5}
    with pytest.raises(InputError, match="an answer must be a mathematical expression; found 'so'"):
        verdict(reward, "1", "so")


def test_math_equal_has_no_limit_of_time_in_a_thread(fake_math):
    from threading import Thread

    found = []
    thread = Thread(target=lambda: found.append(verdict(math_equal(), "1/2", "0.5")))
    thread.start()
    thread.join()
    assert found == [1.0]
    assert set(fake_math) == {None}


@pytest.mark.parametrize(
    ("package", "build", "extra"),
    [("math_verify", math_equal, "math"), ("jsonschema", lambda: valid_json({"type": "object"}), "json")],
)
def test_a_missing_extra_is_named_when_the_reward_is_built(package, build, extra, monkeypatch):
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"tiltz\[{extra}\]"):
        build()
    assert verdict(valid_json(), "{}") == 1.0


def test_all_have_the_range_0_to_1_a_name_and_travel_between_processes(fake_math):
    rewards = [
        exact_match(),
        matches("a"),
        number(),
        valid_json(),
        valid_json({"type": "object"}),
        math_equal(),
    ]
    for reward in rewards:
        assert reward.reward_range == (0.0, 1.0)
        assert pickle.loads(pickle.dumps(reward)).name == reward.name


def test_a_row_without_an_answer_has_no_reward():
    found = evaluate(exact_match("gold"), ["?"] * 2, ["a", "b"], {"gold": ["a", None]})
    assert found.errors == {"exact_match": [None, "no reward: None"]}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: matches("("), r"pattern must be a regular expression \(.*\); found '\('"),
        (lambda: matches(3), "pattern must be a regular expression"),
        (lambda: number(tolerance=-1), "tolerance must be a finite number of at least 0; found -1"),
        (lambda: number(tolerance=float("nan")), "tolerance must be"),
        (lambda: valid_json({"type": "objekt"}), r"schema must be a JSON schema \(.*objekt.*\); found"),
        (lambda: verdict(exact_match(), "a"), "the reward exact_match needs the column 'answer'; found none"),
        (lambda: verdict(exact_match("gold"), "a", "a"), "needs the column 'gold'; found answer"),
        (
            lambda: verdict(exact_match(), "4", 4),
            "an accepted answer must be a text, or a list of texts; found 4",
        ),
        (lambda: verdict(number(), "4", "four"), "must be a number, or a text with one; found 'four'"),
        (
            lambda: verdict(matches("a"), 3),
            "a completion must be a text or a list of chat messages .*; found 3",
        ),
        (lambda: verdict(matches("a"), []), "a completion must be a text"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
