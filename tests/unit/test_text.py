"""Plain text: numbers without made-up digits, labels that cannot break a line, tables and sentences of 80 columns."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.cells import cell_len

from tiltz.text import WIDTH, count, number, one_line, paragraph, shortened, table

FINITE = st.floats(allow_nan=False, allow_infinity=False)
WIDE = "漢字"
HOSTILE = [
    "two\nlines\tand \x1b[31mred\x1b[0m", "[bold red]markup[/]", "[/]", "\\[x]", WIDE * 60, "x" * 500, "", " ",
    "\u202eright to left\u202c", "\x00\x07", "e\u0301" * 50, "\U0001f469\u200d\U0001f467" * 30, "a\u2028b",
]  # fmt: skip


# Numbers


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"), (1.0, "1"), (31.28417, "31.28"), (-0.60653, "-0.6065"), (999.96, "1000"),
        (9999.6, "10000"), (-100000.35, "-100000"), (123456.7, "123457"), (1e6, "1e+06"), (-2.5e7, "-2.5e+07"),
        (1e-4, "0.0001"), (1e-5, "1e-05"), (2.3e-16, "2.3e-16"), (5e-324, "4.941e-324"),
        (1.7976931348623157e308, "1.798e+308"), (math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_a_number_as_it_is_shown(value, shown):
    assert number(value) == shown


def test_digits_are_significant_ones():
    assert [number(2 / 3, digits) for digits in (1, 3, 6)] == ["0.7", "0.667", "0.666667"]
    assert number(math.log(2), 6) == "0.693147"


@given(FINITE, st.integers(2, 8))
def test_a_number_reads_back_to_so_many_digits(value, digits):
    assume(abs(value) < 1e308)  # what rounds up to 1.8e308 reads back as infinite
    back = float(number(value, digits))
    # Half a unit of the last digit shown; the smallest floats have fewer digits than that.
    assert abs(back - value) <= 0.5001 * 10.0 ** (1 - digits) * abs(value) + 5e-324


@given(FINITE)
def test_a_number_is_short(value):
    assert len(number(value)) <= len("-1.234e-300")


@pytest.mark.parametrize(
    ("n", "noun", "shown"),
    [
        (0, "prompt", "0 prompts"),
        (1, "prompt", "1 prompt"),
        (2, "beta", "2 betas"),
        (12000, "row", "12,000 rows"),
    ],
)
def test_counts(n, noun, shown):
    assert count(n, noun) == shown


# Labels


@pytest.mark.parametrize("label", HOSTILE, ids=range(len(HOSTILE)))
def test_a_label_is_one_printable_line(label):
    line = one_line(label)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    assert line == line.strip()


def test_what_can_be_shown_is_shown():
    assert one_line("What is\n  2 + 2?") == "What is 2 + 2?"
    assert one_line(WIDE) == WIDE
    assert one_line("[bold]x[/]") == "[bold]x[/]"
    assert one_line("a\x1b[31mb") == "a\N{REPLACEMENT CHARACTER}[31mb"
    assert one_line(17) == "17"


@given(st.text())
def test_any_text_becomes_one_printable_line(text):
    assert one_line(text).isprintable()
    assert one_line(one_line(text)) == one_line(text)


# Tables


def fits(text):
    return all(cell_len(line) <= WIDTH for line in text.split("\n"))


def test_a_small_table_as_it_is_shown():
    shown = table(["prompt", "beta"], [["a", "0.5"], ["bc", "10"]], right=[1])
    assert shown == "prompt beta\na       0.5\nbc       10"


@pytest.mark.parametrize("label", HOSTILE, ids=range(len(HOSTILE)))
def test_a_table_of_hostile_labels_fits_and_keeps_its_numbers(label):
    shown = table(["prompt", "n", "flags"], [[label, "12345", "E"], ["b", "6", ""]], right=[1])
    lines = shown.split("\n")
    assert fits(shown)
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert lines[1].split()[-2:] == ["12345", "E"]


def test_only_the_first_column_gives_way_while_the_rest_fit():
    rest = ["1.234e-100", "[-1.234e-100, -1.234e-100]", "100%"]
    shown = table(["prompt", "x", "interval", "y"], [["long label " * 20, *rest]], right=[1, 2, 3])
    assert fits(shown)
    assert shown.endswith(" ".join(rest))
    assert "…" in shown


LABEL = st.one_of(st.text(max_size=100), st.sampled_from(HOSTILE))
NUMBER = st.floats(allow_nan=True).map(number)


@given(st.lists(st.tuples(LABEL, NUMBER, NUMBER, st.lists(NUMBER, min_size=2, max_size=2)), max_size=6))
def test_any_labels_give_way_to_any_numbers(rows):
    cells = [[label, beta, point, f"[{', '.join(limits)}]"] for label, beta, point, limits in rows]
    shown = table(["prompt", "beta", "log Z", "interval"], cells, right=[1, 2, 3])
    lines = shown.split("\n")
    assert fits(shown)
    assert len(lines) == 1 + len(rows)
    for line, (_, *numbers) in zip(lines[1:], cells, strict=True):
        assert line.split()[-4:] == " ".join(numbers).split()


def test_numbers_are_never_cut():
    row = ["label", *["-1.234e-100"] * 9]
    shown = table(["prompt", *"abcdefghi"], [row], right=range(1, 10))
    assert shown.split("\n")[1].split() == row
    first = ["1.234e-300", *row[1:]]
    assert table(["beta", *"abcdefghi"], [first], right=range(10)).split("\n")[1].split() == first


def test_a_table_without_rows_is_its_headers():
    assert table(["prompt", "beta"], [], right=[1]) == "prompt beta"


def test_no_line_ends_in_blanks():
    shown = table(["prompt", "flags"], [["a", ""], ["b", "E"]])
    assert all(line == line.rstrip() for line in shown.split("\n"))


# Labels in little room


@pytest.mark.parametrize("width", [8, 20, 60])
def test_shortened_labels_take_at_most_their_room(width):
    found = shortened(HOSTILE, width)
    assert len(found) == len(HOSTILE)
    for label, line in zip(HOSTILE, found, strict=True):
        assert cell_len(line) <= width
        assert line.isprintable()
        assert line == one_line(label) or "…" in line or "�" in line


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5), st.integers(8, 40))
def test_any_labels_are_shortened_to_their_room(labels, width):
    found = shortened(labels, width)
    assert len(found) == len(labels)
    assert all(cell_len(line) <= width and line.isprintable() for line in found)


def test_labels_that_fit_stay_as_they_are():
    assert shortened(["What is 2 + 2?", "short"], 14) == ["What is 2 + 2?", "short"]


@pytest.mark.parametrize(
    "shared", ["Answer in one word, and think before you answer. ", "問題に答えてください。" * 4]
)
def test_what_differs_stays_visible(shared):
    alike = [f"{shared}{what}" for what in ("What is a lake?", "What is a sea?", "What is a pond?")]
    assert len(set(shortened(alike, 30))) == 3
    assert len(set(shortened([label + " " + shared for label in alike], 30))) == 3


def test_repeats_are_shown_alike():
    assert len(set(shortened(["the same long label " * 5] * 3, 20))) == 1


CHAT = '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "%s"}]'


def test_of_a_chat_the_last_question_is_shown():
    assert one_line(CHAT % "What is\\n2 + 2?") == "What is 2 + 2?"
    assert shortened([CHAT % "2 + 2?", CHAT % "3 + 3?"], 20) == ["2 + 2?", "3 + 3?"]


@pytest.mark.parametrize(
    "label",
    ["[{", "[{}]", "[{]", '[{"role": 1}]', '[{"content": null}]', "[1, 2]", "[{" * 9000],
    ids=range(7),
)
def test_what_is_not_a_chat_is_shown_as_it_is(label):
    assert one_line(label) == label


def test_chats_with_the_same_question_stay_apart():
    other = CHAT.replace("Be brief.", "Be kind.")
    assert len(set(shortened([CHAT % "2 + 2?", other % "2 + 2?"], 40))) == 2


# Sentences


def test_a_sentence_is_folded_and_its_later_lines_are_indented():
    lines = paragraph("word " * 40)
    assert len(lines) == 3
    assert fits("\n".join(lines))
    assert not lines[0].startswith(" ")
    assert all(line.startswith("  word") for line in lines[1:])
    assert " ".join("\n".join(lines).split()) == ("word " * 40).strip()


def test_a_short_sentence_is_one_line_and_none_is_an_empty_one():
    assert paragraph("as it is") == ["as it is"]
    assert paragraph("") == [""]


def test_control_characters_do_not_reach_a_sentence():
    assert paragraph("drawn from\nthe \x1b[31mred one") == [
        "drawn from the \N{REPLACEMENT CHARACTER}[31mred one"
    ]


def test_hyphens_do_not_break_a_word():
    assert all("log-mean-exp" in line for line in paragraph("log-mean-exp " * 30))


@pytest.mark.parametrize(
    "word", ["x" * 500, WIDE * 60, "\uff21" * 100, f"{WIDE} " * 60], ids=["long", "wide", "full", "words"]
)
def test_a_sentence_of_long_or_wide_words_fits(word):
    lines = paragraph(f"the prompt {word} has no reward")
    assert fits("\n".join(lines))
    assert "".join("".join(lines).split()) == "".join(f"the prompt {word} has no reward".split())
