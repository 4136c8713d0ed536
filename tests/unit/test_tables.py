"""Tables whose labels give way and whose numbers do not, and long labels that can still be told apart."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltz.text import WIDTH, one_line, paragraph, shortened, table, width_of

HEADERS = ["prompt", "step", "beta", "log Z", "95% interval", "soft value", "n", "ess", "flags"]
NUMBERS = ["100000", "0.0005", "-1.2e+06", "[-1.2e+06, -1.1e+06]", "-616.8", "16", "12.3", "EFS2"]
WIDE = "\u6f22\u5b57\N{GRINNING FACE}"
LONG = ["x" * 500, "word " * 100, WIDE * 80, "e\u0301" * 300, "\x1b[31m" * 40, '[{"content": "' * 50]
SYSTEM = "You are a helpful assistant. Think step by step, then answer in \\boxed{}. "


def chat(*contents):
    roles = ["system", "user", "assistant", "user"][: len(contents)]
    return json.dumps([{"content": c, "role": r} for c, r in zip(contents, roles, strict=True)])


def ends_with(line, numbers):
    return " ".join(line.split()).endswith(" ".join(numbers))


def lines_of(labels, numbers=NUMBERS):
    shown = table(HEADERS, [[label, *numbers] for label in labels], right=range(1, len(HEADERS) - 1))
    return shown.split("\n")


# Numbers


@pytest.mark.parametrize("label", LONG, ids=range(len(LONG)))
def test_numbers_beside_a_long_label_are_whole(label):
    _, line, short = lines_of([label, "short"])
    assert ends_with(line, NUMBERS)
    assert short.startswith("short ")
    assert max(map(width_of, (line, short))) <= WIDTH


def test_numbers_that_need_the_whole_width_are_whole():
    numbers = ["-1.234e-100"] * 7 + ["EFS2"]
    _, line = lines_of(["a label that is long"], numbers)
    assert ends_with(line, numbers)
    assert width_of(line.split(" -1.234e-100")[0]) <= 8


def test_a_first_column_of_numbers_is_whole():
    numbers = ["0.0000123456789", "1" * 40, "2" * 40]
    assert table(["beta", "a", "b"], [numbers], right=range(3)).split("\n")[1] == " ".join(numbers)


@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
def test_any_labels_leave_the_numbers_whole_and_in_line(labels):
    _, *lines = lines_of(labels)
    assert len(lines) == len(labels)
    assert all(ends_with(line, NUMBERS) for line in lines)
    assert len({width_of(line) for line in lines}) == 1
    assert width_of(lines[0]) <= WIDTH


def test_headers_alone():
    assert table(["prompt", "n"], [], right=[1]) == "prompt n"


# Labels


def test_labels_that_fit_are_left_alone():
    labels = ["What is 1 + 1?", "What is 2 + 2?", WIDE, "b"]
    assert shortened(labels, 14) == labels


def test_a_long_label_keeps_its_beginning_and_its_end():
    label = "Natalia sold clips to 48 of her friends. How many clips were sold in May?"
    assert shortened([label], 30) == ["Natalia sold clips t\u2026d in May?"]


@pytest.mark.parametrize("width", range(12, 60, 5))
@pytest.mark.parametrize(
    "make",
    [
        lambda i: (
            f"{SYSTEM}Natalia sold clips to {i} of her friends in April. How many were sold altogether?"
        ),
        lambda i: f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\nWhat is {i} + 3?<|im_end|>\n",
        lambda i: chat(SYSTEM, f"What is {i} + 3? Answer with the number alone, and nothing besides it."),
        lambda i: chat(f"You are system {i}. {SYSTEM}", "Continue."),
        lambda i: chat(SYSTEM, f"What is {i} + 3?", "Let me see.", "Go on."),
        lambda i: "\u6f22" * 40 + str(i) + "\u5b57" * 40,
        lambda i: "x" * 100 + str(i) + "y" * 100,
    ],
)
def test_labels_with_a_common_beginning_and_end_can_be_told_apart(make, width):
    labels = [make(i) for i in (17, 48, 52)]
    shown = shortened(labels, width)
    assert len(set(shown)) == 3
    assert all(width_of(label) <= width for label in shown)
    assert all(str(i) in label for i, label in zip((17, 48, 52), shown, strict=True))


def test_repeated_labels_are_shown_alike():
    shown = shortened([SYSTEM * 3, SYSTEM * 3], 20)
    assert shown == ["You are a hel\u2026xed{}."] * 2


@given(st.lists(st.text(max_size=60), max_size=5), st.integers(8, 40))
def test_any_label_fits(labels, width):
    shown = shortened(labels, width)
    assert len(shown) == len(labels)
    assert all(width_of(label) <= width for label in shown)
    assert all(label.isprintable() for label in shown)


def test_many_long_labels_take_no_time():
    labels = [f"{WIDE * 3000}{i}" for i in range(200)]
    start = time.perf_counter()
    lines_of(labels)
    assert time.perf_counter() - start < 5


# Chats


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        (chat("Be brief.", "What is 2 + 2?"), "What is 2 + 2?"),
        (chat("Be brief.", "What is 2 + 2?", "4", "And 3 + 3?"), "And 3 + 3?"),
        ('[{"role": "system", "content": "Be brief."}]', "Be brief."),
        (
            '[{"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image"}, {"text": "what?"}]}]',
            "Look: what?",
        ),
    ],
)
def test_of_chat_messages_the_last_of_the_user_is_shown(label, shown):
    assert one_line(label) == shown


@pytest.mark.parametrize(
    "label",
    [
        '[{"a": 1}]',
        "[{",
        "[{}]",
        '[{"role": "user"}]',
        '[{"role": "user", "content": ""}]',
        '[{"a":' * 5000,
        "[1, 2]",
    ],
    ids=range(7),
)
def test_what_only_looks_like_a_chat_is_shown_as_it_is(label):
    assert one_line(label) == label


# Sentences


@pytest.mark.parametrize("text", ["\u6f22" * 100, "\x1b[31m" * 60, f"{WIDE} " * 60, "a\u2028b " * 40])
def test_a_hostile_sentence_is_printable_and_fits(text):
    lines = paragraph(f"reward = {text}")
    assert all(line.isprintable() and width_of(line) <= WIDTH for line in lines)
