"""What may enter the table, what it keeps, and what its samples say on average over every path of a sampler."""

import dataclasses
import math

import numpy as np
import pytest

import tiltz
from tests.oracles import all_draws, precisely
from tiltz.errors import InputError
from tiltz.facts import TableFacts

complete, partial, sampled = tiltz.Outcomes.complete, tiltz.Outcomes.partial, tiltz.Outcomes.sampled

HALVES = np.log([0.5, 0.5])


def one_of_each(**options):
    """A table of each kind for the prompts "b" (two rows) and "a" (one row), interleaved."""
    prompt = ["b", "a", "b"]
    return {
        "complete": complete([math.log(0.25), 0.0, math.log(0.75)], [1, 2, 3], prompt=prompt, **options),
        "partial": partial(
            np.log([0.25, 0.5, 0.25]), [1, 2, 3], reward_range=(0, 5), prompt=prompt, **options
        ),
        "sampled": sampled([1, 2, 3], prompt=prompt, **options),
    }


# Complete


def test_a_complete_table_keeps_its_rows_in_the_order_given():
    table = one_of_each()["complete"]
    assert table.evidence == "complete"
    assert table.reward.tolist() == [1.0, 2.0, 3.0]
    assert np.exp(table.log_weight) == pytest.approx([0.25, 1.0, 0.75], rel=1e-15)
    assert table.prompt.tolist() == ["b", "a"]
    assert table.n.tolist() == [2, 1]
    assert table.log_listed == pytest.approx([0.0, 0.0], abs=1e-15)
    assert len(table) == 3
    assert table.step is table.log_missing is table.remainder is table.reward_range is None
    assert not table.weighted


def test_complete_prompts_may_have_domains_of_any_size():
    sizes = [1, 5, 2, 1000]
    prompt = np.repeat(np.arange(4), sizes)
    table = complete(-np.log(np.repeat(sizes, sizes)), np.arange(1008.0), prompt=prompt)
    assert table.n.tolist() == sizes
    shuffled = np.random.default_rng(0).permutation(1008)
    mixed = complete(table.log_weight[shuffled], table.reward[shuffled], prompt=prompt[shuffled])
    assert sorted(mixed.n.tolist()) == sorted(sizes)


def test_two_dimensions_are_one_prompt_per_line():
    flat = complete(np.tile(HALVES, 3), np.arange(6), prompt=[0, 0, 1, 1, 2, 2])
    table = complete([HALVES] * 3, np.arange(6).reshape(3, 2))
    assert table.prompt.tolist() == [0, 1, 2]
    assert table.reward.shape == (6,)
    assert np.array_equal(table.reward, flat.reward)
    assert np.array_equal(table.log_weight, flat.log_weight)
    named = complete([HALVES] * 3, np.zeros((3, 2)), prompt=["z", "y", "x"])
    assert named.prompt.tolist() == ["z", "y", "x"]
    assert named.n.tolist() == [2, 2, 2]


# A single outcome, so that its log-probability is the log of the mass to the last bit.
@pytest.mark.parametrize("mass", [1e-9, -1e-9, 0.999e-9, -0.999e-9, 1e-15, 0.0])
def test_a_mass_within_the_tolerance_becomes_one(mass):
    table = complete([math.log1p(mass)], [1.0])
    assert table.log_weight.tolist() == [0.0]


@pytest.mark.parametrize("mass", [1.001e-9, -1.001e-9, 0.5, -0.5, 1e300])
def test_a_mass_beyond_the_tolerance_is_refused(mass):
    log_ref = math.log1p(mass)
    with pytest.raises(InputError, match=r"mass 1 within 1e-09; those of prompt 'b' have mass"):
        complete([0.0, log_ref], [1.0, 2.0], prompt=["a", "b"])
    table = complete([0.0, log_ref], [1.0, 2.0], prompt=["a", "b"], renormalise=True)
    assert table.log_weight.tolist() == [0.0, 0.0]


def test_the_message_about_a_wrong_mass_says_what_to_do():
    with pytest.raises(InputError, match=r"have mass 0\.75\..* Outcomes\.partial; .* renormalise=True"):
        complete(np.log([0.5, 0.25]), [0, 1])
    with pytest.raises(InputError, match=r"prompt 7 have mass 0\."):
        complete([-np.inf], [0], prompt=[7])
    with pytest.raises(InputError, match="mass"):
        complete([800.0, 800.0], [0, 1])


@pytest.mark.parametrize("shift", [0.0, 700.0, -700.0, 1e5, -1e5, 1e9, 1e300])
def test_renormalising_takes_scores_on_any_scale(shift):
    table = complete(np.array([0.0, 0.0]) + shift, [0, 1], renormalise=True)
    assert np.exp(table.log_weight) == pytest.approx([0.5, 0.5], rel=1e-15)


def test_a_domain_without_mass_is_refused_even_when_renormalised():
    with pytest.raises(InputError, match="reference mass above 0; prompt 'b' has none"):
        complete([0.0, -np.inf], [0, 1], prompt=["a", "b"], renormalise=True)


def test_an_outcome_of_no_mass_is_legal():
    table = complete([-np.inf, 0.0], [5.0, 1.0])
    assert table.log_weight.tolist() == [-np.inf, 0.0]


# Partial


def test_a_partial_table_knows_what_is_missing():
    table = one_of_each()["partial"]
    assert table.evidence == "partial"
    assert table.reward_range == (0.0, 5.0)
    assert np.exp(table.log_listed) == pytest.approx([0.5, 0.5], rel=1e-15)
    assert np.exp(table.log_missing) == pytest.approx([0.5, 0.5], rel=1e-15)


def test_a_small_missing_mass_is_taken_from_its_log():
    given = partial(np.log([0.5, 0.5]), [0, 1], reward_range=(0, 1), log_missing=-100.0)
    assert given.log_missing == pytest.approx([-100.0])
    assert partial(HALVES, [0, 1], reward_range=(0, 1)).log_missing.tolist() == [-np.inf]


@pytest.mark.parametrize("mass", [1.001e-9, 0.25, 1e300])
def test_listed_outcomes_of_mass_above_one_are_refused(mass):
    with pytest.raises(InputError, match=r"mass at most 1; those of prompt 'b' have mass .* listed twice"):
        partial([-1.0, math.log1p(mass)], [0, 1], reward_range=(0, 1), prompt=["a", "b"])


@pytest.mark.parametrize("mass", [1e-9, 1e-12])
def test_a_listed_mass_of_one_within_rounding_is_all(mass):
    table = partial([math.log1p(mass)], [1], reward_range=(0, 1))
    assert table.log_weight.tolist() == [0.0]
    assert table.log_missing.tolist() == [-np.inf]


@pytest.mark.parametrize("slack", [0.9e-9, -0.9e-9])
def test_listed_and_missing_mass_sum_to_one_within_the_tolerance(slack):
    table = partial(np.log([0.5, 0.25]), [0, 1], reward_range=(0, 1), log_missing=[math.log(0.25 + slack)])
    assert np.logaddexp(table.log_listed, table.log_missing) == pytest.approx([0.0], abs=1e-15)


@pytest.mark.parametrize(
    "log_missing", [math.log(0.25 + 1.1e-9), math.log(0.25 - 1.1e-9), -np.inf, np.inf, np.nan, 0.0, 5.0, 1e5]
)
def test_a_missing_mass_that_contradicts_the_listed_is_refused(log_missing):
    log_ref, prompt = np.log([0.5, 0.25, 0.25, 0.5]), ["a", "b", "b", "b"]
    with pytest.raises(
        InputError, match=r"sum to 1 within 1e-09; for prompt 'a' the listed mass is 0\.5 and"
    ):
        partial(log_ref, [0, 1, 1, 1], reward_range=(0, 1), prompt=prompt, log_missing=[log_missing, -np.inf])


@pytest.mark.parametrize("log_missing", [[-1.0, -1.0], [-1.0] * 4, [[-1.0] * 3] * 2, [], "much"])
def test_a_missing_mass_for_each_prompt_or_none(log_missing):
    with pytest.raises(InputError, match="log_missing"):
        partial([-1.0] * 3, [0, 1, 1], reward_range=(0, 1), prompt=[0, 1, 2], log_missing=log_missing)


@pytest.mark.parametrize("beta", [1e-3, 1.0, 1e6])
def test_listed_outcomes_that_never_occur_say_nothing(beta):
    table = partial([-np.inf, -np.inf], [0.25, 0.5], reward_range=(0, 1))
    assert table.log_missing.tolist() == [0.0]
    est = tiltz.estimate(table, beta)
    assert (est.lo[0, 0], est.hi[0, 0]) == (0.0, 1 / beta)


@pytest.mark.parametrize(
    "span",
    [(0, 0.5), (0.5, 1), (1, 0), (0, np.inf), (-np.inf, 1), (np.nan, 1), (0,), (0, 1, 2), 1, None, "ab"],
)
def test_a_partial_table_needs_a_range_that_holds(span):
    with pytest.raises(InputError, match="reward_range"):
        partial(np.log([0.5, 0.25]), [0, 1], reward_range=span)


def test_draws_of_the_remainder_must_match():
    listed = {"log_ref": [-1.0, -2.0], "reward": [0, 1], "reward_range": (0, 1), "prompt": ["a", "b"]}
    rest = sampled([0, 1, 1], prompt=["a", "b", "b"])
    assert partial(**listed, remainder=rest).remainder is rest
    for kind in ("complete", "partial"):
        with pytest.raises(InputError, match=f"sampled from the unlisted outcomes; found a {kind} table"):
            partial(**listed, remainder=one_of_each()[kind])
    with pytest.raises(InputError, match=r"same prompts in the same order .* found 1 prompts against 2"):
        partial(**listed, remainder=sampled([0, 1], prompt=["a", "a"]))
    for labels in (["b", "a"], ["a", "c"], [0, 1]):
        with pytest.raises(InputError, match="same prompts in the same order"):
            partial(**listed, remainder=sampled([0, 1], prompt=labels))
    with pytest.raises(InputError, match="same prompts"):
        partial(**listed, remainder=sampled([0, 1, 1], prompt=["a", "a", "b"], step=[1, 2, 1]))


# Sampled


def test_draws_from_the_reference_have_weight_one():
    for options in ({}, {"log_ref": [-1.0, -2.0, -3.0]}):
        table = sampled([1, 0, 1], **options)
        assert table.log_weight.tolist() == [0.0, 0.0, 0.0]
        assert table.drawn_from == "reference"
        assert not table.weighted
        assert table.stopping == "fixed"


def test_draws_from_a_proposal_carry_the_ratio():
    table = sampled([1, 0, 1], log_ref=[-1.0, 3.0, -np.inf], log_proposal=[-2.0, 1.0, -4.0])
    assert table.log_weight.tolist() == [1.0, 2.0, -np.inf]
    assert table.drawn_from == "proposal"
    assert table.weighted
    assert sampled([1], log_ref=[0], log_proposal=[0], drawn_from="policy").drawn_from == "policy"


def test_equal_log_probs_still_make_weights():
    assert sampled([1, 0], log_ref=[-1, -1], log_proposal=[-1, -1]).weighted


def test_a_proposal_needs_the_reference_beside_it():
    with pytest.raises(InputError, match="need log_ref beside log_proposal"):
        sampled([1, 0], log_proposal=[-1.0, -2.0])


def test_what_was_drawn_had_a_probability():
    with pytest.raises(InputError, match=r"log_proposal must be above -inf .* in row 1, prompt 'b'\."):
        sampled([1, 0], prompt=["a", "b"], log_ref=[-1, -1], log_proposal=[-1, -np.inf])


def test_samples_in_two_dimensions():
    table = sampled(
        [[1, 2], [3, 4]], prompt=["x", "y"], log_ref=[[0, 1], [2, 3]], log_proposal=np.zeros((2, 2))
    )
    assert table.prompt.tolist() == ["x", "y"]
    assert table.reward.tolist() == [1, 2, 3, 4]
    assert table.log_weight.tolist() == [0, 1, 2, 3]
    repeated = sampled([[1, 2], [3, 4], [5, 6]], prompt=["x", "y", "x"])
    assert repeated.n.tolist() == [4, 2]


def test_steps_make_groups():
    table = sampled([1, 2, 3, 4], prompt=["a", "b", "a", "a"], step=[5, 5, 2, 5])
    assert table.prompt.tolist() == ["a", "b", "a"]
    assert table.step.tolist() == [5, 5, 2]
    assert table.n.tolist() == [2, 1, 1]
    assert sampled([[1, 2]], step=[3, 4]).step.tolist() == [3, 4]


@pytest.mark.parametrize(
    "step", [[1.0, 2.0], [True, False], ["1", "2"], [1], [[1], [2]], 1, [1, None], np.array([1, 2]) / 1]
)
def test_steps_are_one_integer_per_row(step):
    with pytest.raises(InputError, match="step must hold one integer for each of the 2 rows"):
        sampled([0, 1], step=step)


@pytest.mark.parametrize("stopping", ["never", "", None, True])
def test_stopping_is_fixed_or_adaptive(stopping):
    with pytest.raises(InputError, match="stopping must be 'fixed' or 'adaptive'"):
        sampled([0, 1], stopping=stopping)
    assert sampled([0, 1], stopping="adaptive").stopping == "adaptive"


def test_declarations_are_kept():
    table = sampled([0, 1], reward_range=[-1, 2], reward_values=(1, 0, 1, -np.inf))
    assert table.reward_range == (-1.0, 2.0)
    assert table.reward_values == (-np.inf, 0.0, 1.0)
    assert sampled([0, 1], reward_values=np.array([0.0, 1.0])).reward_values == (0.0, 1.0)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"reward_range": (0, 1)}, r"reward_range \[0, 1\]; found 2 in row 1, prompt 'b' \(2 more rows"),
        ({"reward_range": (-0.5, 2)}, r"reward_range \[-0.5, 2\]; found -1 in row 3, prompt 'b'\."),
        ({"reward_values": (2, -1)}, r"reward_values \(-1\.0, 2\.0\); found 0 in row 0, prompt 'a'\."),
        ({"reward_values": (0, 2)}, r"reward_values \(0\.0, 2\.0\); found -1 in row 3, prompt 'b'\."),
    ],
)
def test_a_reward_against_a_declaration_is_named(declared, message):
    with pytest.raises(InputError, match=message):
        sampled([0, 2, 2, -1], prompt=["a", "b", "a", "b"], **declared)


@pytest.mark.parametrize("values", [(), (np.nan, 1), (0, np.inf), 1, ("a",), [[0, 1]], (None,)])
def test_declared_values_must_be_numbers(values):
    with pytest.raises(InputError, match="reward_values"):
        sampled([0, 1], reward_values=values)


# Labels


@pytest.mark.parametrize(
    "labels",
    [
        ["b", "a", "b"],
        ("b", "a", "b"),
        np.array(["b", "a", "b"]),
        np.array(["b", "a", "b"], dtype=object),
        [np.str_("b"), "a", "b"],
    ],
)
def test_labels_are_text(labels):
    table = sampled([1, 2, 3], prompt=labels)
    assert table.prompt.tolist() == ["b", "a"]
    assert {type(label) for label in table.prompt} == {str}
    assert table.n.tolist() == [2, 1]


@pytest.mark.parametrize(
    "labels",
    [
        [7, -3, 7],
        np.array([7, -3, 7], dtype=np.int8),
        np.array([7, -3, 7], dtype=object),
        [np.int64(7), -3, np.int32(7)],
        range(7, -15, -10),
    ],
)
def test_labels_are_integers(labels):
    table = sampled([1, 2, 3], prompt=labels)
    assert table.prompt.dtype == np.int64
    assert table.prompt.tolist()[:2] == [7, -3]
    assert table.reward.tolist() == [1, 2, 3]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_labels_without_a_sign(dtype):
    assert sampled([1, 2], prompt=np.array([200, 3], dtype=dtype)).prompt.tolist() == [200, 3]


@pytest.mark.parametrize(
    "labels", [np.array([2**63, 1], dtype=np.uint64), [2**63, 1], [2**70, 1], [-(2**64), 1]]
)
def test_labels_beyond_64_bits_are_kept_or_refused_but_never_changed(labels):
    try:
        kept = sampled([1, 2], prompt=labels).prompt.tolist()
    except InputError:
        return
    assert kept == [int(label) for label in labels]


def test_labels_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"prompt": ["b", "a", "b"], "code": [4, 2, 4], "reward": [1.0, 2.0, 3.0]}, index=[30, 10, 20]
    )
    for labels in (frame.prompt, frame.prompt.astype("string"), frame.prompt.astype("category")):
        table = sampled(frame.reward, prompt=labels)
        assert table.prompt.tolist() == ["b", "a"]
        assert table.reward.tolist() == [1.0, 2.0, 3.0]
    for labels in (frame.code, frame.code.astype("Int64"), pandas.Index(frame.code)):
        assert sampled(frame.reward.astype("Float64"), prompt=labels).prompt.tolist() == [4, 2]
    absent = pandas.Series([1, None, 1])
    for labels in (absent, absent.astype("Int64"), absent.astype("Int64").astype("string")):
        with pytest.raises(InputError, match="prompt labels"):
            sampled(frame.reward, prompt=labels)
    with pytest.raises(InputError, match="reward"):
        sampled(absent.astype("Float64"))


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([1.0, 2.0], "1.0 of type float in row 0"),
        (np.array([1.5, 2.5]), "1.5.* of type float64 in row 0"),
        ([True, False], "True of type bool in row 0"),
        (np.array([True, False]), "True.* of type bool.* in row 0"),
        (["a", None], "None of type NoneType in row 1"),
        (["a", float("nan")], "nan of type float in row 1"),
        (["a", 1], "1 of type int in row 1"),
        ([b"a", b"b"], "b'a' of type bytes in row 0"),
        ([("a",), ["b"]], "prompt"),
    ],
)
def test_other_labels_are_refused(labels, found):
    with pytest.raises(InputError, match=found):
        sampled([0, 1], prompt=labels)


@pytest.mark.parametrize(("stranger", "kind"), [(2.5, "float"), (True, "bool"), (None, "NoneType")])
def test_the_label_that_is_named_is_the_bad_one(stranger, kind):
    with pytest.raises(InputError, match=f"found {stranger!r} of type {kind} in row 2"):
        sampled([0, 1, 1], prompt=[1, 2, stranger])


@pytest.mark.parametrize("labels", [[], ["a"], ["a"] * 3, "ab", [["a"], ["b"]], [["a", "b"]]])
@pytest.mark.parametrize("make", [sampled, lambda reward, prompt: complete(reward, reward, prompt=prompt)])
def test_one_label_for_each_row(labels, make):
    with pytest.raises(InputError, match="one label for each row, 2 in all"):
        make([0, 1], prompt=labels)


def test_one_label_for_each_line():
    with pytest.raises(InputError, match=r"one label for each prompt, 2 in all; found shape \(3,\)"):
        sampled(np.zeros((2, 3)), prompt=["a", "b", "c"])


def test_labels_that_differ_only_in_a_trailing_nul_are_different():
    table = sampled([1, 2], prompt=["a\0", "a"])
    assert table.prompt.tolist() == ["a\0", "a"]
    assert table.select(["a\0"]).reward.tolist() == [1.0]


# Values


def each_maker(reward, **options):
    yield lambda: sampled(reward, **options)
    log_ref = np.full(np.shape(reward), -50.0)
    yield lambda: complete(log_ref, reward, renormalise=True, **options)
    yield lambda: partial(log_ref, reward, reward_range=(-1e9, 1e9), **options)


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "nan"), (np.inf, "inf")])
def test_the_first_bad_reward_is_named(bad, name):
    message = f"never NaN or \\+inf; found {name} in row 2, prompt 'b' \\(1 more row"
    for make in each_maker([0.0, 1.0, bad, 2.0, bad], prompt=["a", "b", "b", "a", "c"]):
        with pytest.raises(InputError, match=message):
            make()
    for make in each_maker([[0.0, 1.0], [bad, 2.0]]):
        with pytest.raises(InputError, match=f"found {name} in row 2, prompt 1\\."):
            make()
    with pytest.raises(InputError, match=f"found {name} in row 1, prompt 'a' of step 3"):
        sampled([0.0, bad], prompt=["a", "a"], step=[2, 3])


def test_a_long_prompt_is_named_in_short():
    with pytest.raises(InputError, match=r"prompt 'x{57}\.\.\.'\."):
        sampled([np.nan], prompt=["x" * 61])
    with pytest.raises(InputError, match=r"prompt 'x{60}'\."):
        sampled([np.nan], prompt=["x" * 60])


def test_hard_constraints_are_legal():
    assert sampled([-np.inf, 0.0]).reward.tolist() == [-np.inf, 0.0]
    assert complete(HALVES, [-np.inf, 0.0]).reward.tolist() == [-np.inf, 0.0]
    assert sampled([-np.inf], reward_values=(-np.inf, 1)).reward_values == (-np.inf, 1.0)


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "nan"), (np.inf, "inf")])
@pytest.mark.parametrize("column", ["log_ref", "log_proposal"])
def test_the_first_bad_log_probability_is_named(column, bad, name):
    good, prompt = [-1.0, -1.0, -1.0], ["a", "b", "b"]
    columns = {"log_ref": good, "log_proposal": good} | {column: [-1.0, -1.0, bad]}
    message = f"{column} must be a number below \\+inf; found {name} in row 2, prompt 'b'\\."
    with pytest.raises(InputError, match=message):
        sampled([0, 1, 0], prompt=prompt, **columns)
    if column == "log_ref":
        with pytest.raises(InputError, match=message):
            complete(columns[column], [0, 1, 0], prompt=prompt, renormalise=True)
        with pytest.raises(InputError, match=message):
            partial(columns[column], [0, 1, 0], prompt=prompt, reward_range=(0, 1))


@pytest.mark.parametrize("log_ref", [[-1.0, np.nan], [-1.0, np.inf], [-1.0] * 3, ["a", "b"]])
def test_log_probabilities_are_checked_also_where_they_make_no_weights(log_ref):
    with pytest.raises(InputError, match="log_ref"):
        sampled([0, 1], log_ref=log_ref)


@pytest.mark.parametrize("reward", [[], [[]], np.zeros((0, 3)), np.zeros((3, 0))])
def test_an_empty_table_is_refused(reward):
    with pytest.raises(InputError, match="at least one row for every prompt"):
        sampled(reward)
    with pytest.raises(InputError, match="at least one row for every prompt"):
        complete(reward, reward)
    with pytest.raises(InputError, match="at least one row for every prompt"):
        partial(reward, reward, reward_range=(0, 1))


@pytest.mark.parametrize("reward", [1.0, np.zeros((1, 1, 1))])
def test_tables_have_one_or_two_dimensions(reward):
    with pytest.raises(InputError, match=r"found [03] dimensions"):
        sampled(reward)


@pytest.mark.parametrize("log_ref", [[0.0], [0.0] * 3, [[0.0, 0.0]], 0.0, [[0.0], [0.0]]])
def test_columns_have_one_shape(log_ref):
    with pytest.raises(InputError, match=r"log_ref must have the shape of reward, \(2,\)"):
        complete(log_ref, [0, 1])
    with pytest.raises(InputError, match=r"log_ref must have the shape of reward, \(2,\)"):
        partial(log_ref, [0, 1], reward_range=(0, 1))
    with pytest.raises(InputError, match=r"log_proposal must have the shape of reward, \(2,\)"):
        sampled([0, 1], log_ref=[0, 0], log_proposal=log_ref)


@pytest.mark.parametrize(
    "reward", [["a", "b"], ["0", "1"], "ab", [1j, 2.0], [[1, 2], [3]], [{}, 1], np.array(["2024"], "M8[D]")]
)
def test_rewards_are_numbers(reward):
    with pytest.raises(InputError, match="reward must hold numbers"):
        sampled(reward)


def test_none_is_not_a_number():
    with pytest.raises(InputError, match="found nan in row 1"):
        sampled([1.0, None])


def test_a_masked_reward_is_not_the_number_under_the_mask():
    with pytest.raises(InputError, match="reward"):
        sampled(np.ma.masked_array([0.0, 1.0], mask=[False, True]))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16, np.float32, np.longdouble, object])
def test_rewards_of_any_type_become_doubles(dtype):
    table = sampled(np.array([0, 1, 1], dtype=dtype))
    assert table.reward.dtype == np.float64
    assert table.reward.tolist() == [0.0, 1.0, 1.0]


# Rows and source


def test_rows_point_into_the_source():
    source = object()
    table = sampled([5, 6], row=np.array([9, 4], dtype=np.uint8), source=source)
    assert table.row.tolist() == [9, 4]
    assert table.row.dtype == np.int64
    assert table.source is source
    for name, other in one_of_each(source=source).items():
        assert other.row.tolist() == [0, 1, 2], name
        assert other.source is source
    assert table.select([0]).source is source


@pytest.mark.parametrize("row", [[0], [0, 1, 2], [0.0, 1.0], [[0], [1]], ["a", "b"], 0, [True, False]])
def test_rows_are_one_integer_each(row):
    with pytest.raises(InputError, match="row must hold one integer for each of the 2 rows"):
        sampled([5, 6], row=row)


# Copies


def arrays_of(table):
    groups, columns = table.groups, table.columns()
    arrays = [table.reward, table.log_weight, table.row, table.log_missing, groups.prompt, groups.step]
    arrays += [groups.of_row, groups.order, groups.start, table.prompt, columns.start]
    return [array for array in arrays if array is not None]


@pytest.mark.parametrize("kind", ["complete", "partial", "sampled"])
@pytest.mark.parametrize("chosen", [False, True])
def test_arrays_are_read_only(kind, chosen):
    table = one_of_each()[kind]
    for array in arrays_of(table.select(["b"]) if chosen else table):
        assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        table.reward[0] = 5.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.reward = np.zeros(3)


def test_weights_of_a_proposal_are_read_only():
    table = sampled([0, 1], log_ref=[-1, -2], log_proposal=[-1, -1], row=[3, 4], step=[1, 2])
    assert not any(array.flags.writeable for array in arrays_of(table))


@pytest.mark.parametrize("two_dimensions", [False, True])
def test_what_the_caller_does_with_his_arrays_does_not_reach_the_table(two_dimensions):
    shape = (2, 2) if two_dimensions else (4,)
    given = {
        "reward": np.array([0.0, 1.0, 2.0, 3.0]).reshape(shape),
        "log_ref": np.log([0.5, 0.5, 0.25, 0.75]).reshape(shape),
        "log_proposal": np.zeros(shape),
        "prompt": np.array(["a", "b"] if two_dimensions else ["a", "a", "b", "b"], dtype=object),
        "row": np.arange(4),
        "step": np.array([1, 1, 1, 1]),
        "log_missing": np.array([-np.inf, -np.inf]),
    }
    before = {name: array.copy() for name, array in given.items()}
    weights = {name: given[name] for name in ("reward", "log_ref", "prompt")}
    tables = [
        complete(**weights),
        partial(**weights, reward_range=(0, 3), log_missing=given["log_missing"]),
        sampled(**{name: given[name] for name in before if name != "log_missing"}),
    ]
    for table in tables:
        tiltz.estimate(table, [0.1, 1.0])
        tiltz.tilt(table, 1.0).sample(3, rng=np.random.default_rng(0))
        table.select(["b"])
    kept = [[array.copy() for array in arrays_of(table)] for table in tables]
    for name, array in given.items():
        assert array.flags.writeable
        assert np.array_equal(array, before[name])
        array[...] = "z" if name == "prompt" else 1
    for table, copies in zip(tables, kept, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(arrays_of(table), copies, strict=True))


def test_a_mask_of_the_caller_stays_his():
    mask = np.array([True, False])
    chosen = one_of_each()["sampled"].select(mask)
    assert mask.flags.writeable
    mask[:] = False
    assert chosen.prompt.tolist() == ["b"]


def test_read_only_input_is_welcome():
    reward = np.array([0.0, 1.0])
    reward.setflags(write=False)
    assert sampled(reward).reward.tolist() == [0.0, 1.0]


# Selecting


@pytest.mark.parametrize("kind", ["complete", "partial", "sampled"])
@pytest.mark.parametrize(
    "keep", [[True, False], np.array([True, False]), ["b"], "b", np.array(["b"]), ["b", "b"]]
)
def test_selecting_prompts(kind, keep):
    table = one_of_each()[kind]
    chosen = table.select(keep)
    assert chosen.prompt.tolist() == ["b"]
    assert chosen.reward.tolist() == [1.0, 3.0]
    assert chosen.row.tolist() == [0, 2]
    assert np.array_equal(chosen.log_weight, table.log_weight[[0, 2]])
    assert chosen.facts is table.facts
    assert chosen.evidence == kind
    assert chosen.reward_range == table.reward_range
    assert table.prompt.tolist() == ["b", "a"]
    if kind == "partial":
        assert np.array_equal(chosen.log_missing, table.log_missing[:1])


def test_selecting_keeps_the_order_of_the_table():
    table = sampled(np.arange(6.0), prompt=[30, 10, 20, 10, 30, 20], row=np.arange(6) + 100)
    chosen = table.select([20, 30])
    assert chosen.prompt.tolist() == [30, 20]
    assert chosen.reward.tolist() == [0.0, 2.0, 4.0, 5.0]
    assert chosen.row.tolist() == [100, 102, 104, 105]
    assert chosen.select([20]).row.tolist() == [102, 105]


def test_selecting_integers_is_by_label_and_not_by_position():
    table = sampled([5.0, 6.0], prompt=[1, 0])
    assert table.select([1]).reward.tolist() == [5.0]
    assert table.select(np.array([0])).reward.tolist() == [6.0]
    assert table.select(1).reward.tolist() == [5.0]


def test_selecting_a_prompt_takes_all_its_steps():
    table = sampled([1, 2, 3], prompt=["a", "b", "a"], step=[1, 1, 2])
    chosen = table.select(["a"])
    assert chosen.step.tolist() == [1, 2]
    assert chosen.reward.tolist() == [1.0, 3.0]
    assert table.select([False, False, True]).step.tolist() == [2]


def test_selecting_takes_the_remainder_along():
    rest = sampled([0, 1, 1], prompt=["a", "b", "b"])
    table = partial([-1.0, -2.0], [0, 1], reward_range=(0, 1), prompt=["a", "b"], remainder=rest)
    chosen = table.select(["b"])
    assert chosen.remainder.prompt.tolist() == ["b"]
    assert chosen.remainder.n.tolist() == [2]
    assert chosen.remainder.facts is rest.facts


def test_facts_of_the_whole_table_decide_for_a_selection():
    table = sampled([[0, 0, 1, 1], [0, 0, 0, 0]])
    assert table.select([1]).facts == TableFacts.of(table.reward, table.groups)
    alone, chosen = sampled([[0, 0, 0, 0]]), table.select([1])
    assert tiltz.estimate(alone, 1.0).kind[0, 0] == "lower-only"
    assert tiltz.estimate(chosen, 1.0).kind[0, 0] == "calibrated"


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (["c"], "no prompt has the label 'c'"),
        (["b", "zz", "c"], "no prompt has the label 'c'"),
        ([0], "no prompt has the label 0"),
        ([True], r"mask of prompts must have shape \(2,\); found \(1,\)"),
        ([True] * 3, r"mask of prompts must have shape \(2,\); found \(3,\)"),
        ([False, False], "no prompt is left"),
        ([], "no prompt is left"),
    ],
)
def test_what_cannot_be_selected(keep, message):
    with pytest.raises(InputError, match=message):
        one_of_each()["sampled"].select(keep)


# As the kernels read it


def test_columns_of_samples_carry_the_count():
    table = sampled([1, 2, 3], prompt=["b", "a", "b"], log_ref=[0, -1, -2], log_proposal=[0, 0, 0])
    columns = table.columns()
    assert columns.reward.tolist() == [1.0, 3.0, 2.0]
    assert columns.start.tolist() == [0, 2, 3]
    assert columns.log_mass == pytest.approx([-math.log(2), -2 - math.log(2), -1.0])
    assert columns.log_count == pytest.approx([math.log(2), 0.0])
    assert not columns.normalised
    assert one_of_each()["sampled"].columns().normalised


def test_columns_of_known_masses():
    for kind in ("complete", "partial"):
        columns = one_of_each()[kind].columns()
        assert columns.reward.tolist() == [1.0, 3.0, 2.0]
        assert columns.log_count is None
        assert columns.normalised
    assert np.exp(one_of_each()["complete"].columns().log_mass) == pytest.approx([0.25, 0.75, 1.0])
    # Of a partial table: the reference given that the outcome is listed.
    assert np.exp(one_of_each()["partial"].columns().log_mass) == pytest.approx([0.5, 0.5, 1.0])


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (complete([0.0], [1]), "Outcomes(complete, 1 row, 1 prompt)"),
        (one_of_each()["partial"], "Outcomes(partial, 3 rows, 2 prompts)"),
        (sampled([1, 0]), "Outcomes(sampled, 2 rows, 1 prompt, drawn from the reference)"),
        (
            sampled([[1], [0]], log_ref=[[0], [0]], log_proposal=[[0], [0]]),
            "Outcomes(sampled, 2 rows, 2 prompts, drawn from the proposal)",
        ),
        (
            sampled([1, 0], drawn_from="policy of step 7"),
            "Outcomes(sampled, 2 rows, 1 prompt, drawn from the policy of step 7)",
        ),
    ],
)
def test_what_a_table_says_of_itself(table, text):
    assert repr(table) == text


# On average over every path of a sampler, each weighted with its probability


REFERENCE, REWARD = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 2.5])


def z_of(reference, reward, beta):
    return float(reference @ np.exp(reward / beta))


def mean_over_paths(proposal, n, *, beta, reference=REFERENCE, reward=REWARD, weighted=True):
    """The exact means of Z_hat and of log Z_hat, over all n-tuples of draws from the proposal."""
    draws, prob = all_draws(proposal, n)
    with np.errstate(divide="ignore"):
        log_ref, log_proposal = np.log(reference)[draws], np.log(proposal)[draws]
    possible = prob > 0
    ratio = {"log_ref": log_ref[possible], "log_proposal": log_proposal[possible]} if weighted else {}
    est = tiltz.estimate(sampled(reward[draws[possible]], **ratio), beta, interval=None)
    assert math.fsum(prob) == precisely(1.0, rel=1e-14)
    return prob[possible] @ np.exp(est.log_z[:, 0]), prob[possible] @ est.log_z[:, 0]


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("beta", [0.05, 0.5, 3.0, 1e6])
def test_draws_from_the_reference_are_unbiased_for_z(n, beta):
    z, truth = z_of(REFERENCE, REWARD, beta), math.log(z_of(REFERENCE, REWARD, beta))
    mean_z, mean_log_z = mean_over_paths(REFERENCE, n, beta=beta, weighted=False)
    assert mean_z == precisely(z, rel=1e-12)
    assert mean_log_z < truth or beta == 1e6


PROPOSALS = [[0.2, 0.3, 0.5], [0.98, 0.01, 0.01], [1e-3, 1e-3, 0.998], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.3, 0.2]]


@pytest.mark.parametrize("proposal", PROPOSALS)
@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("beta", [0.05, 0.5, 3.0])
def test_draws_from_a_proposal_are_unbiased_for_z(proposal, n, beta):
    z = z_of(REFERENCE, REWARD, beta)
    mean_z, mean_log_z = mean_over_paths(np.array(proposal), n, beta=beta)
    assert mean_z == precisely(z, rel=1e-12)
    assert mean_log_z < math.log(z)


@pytest.mark.parametrize("n", [1, 4])
def test_outcomes_that_only_the_proposal_has_weigh_nothing(n):
    reference, proposal = np.array([0.6, 0.4, 0.0]), np.array([0.2, 0.3, 0.5])
    with np.errstate(divide="ignore"):
        mean_z, _ = mean_over_paths(proposal, n, beta=0.5, reference=reference)
    assert mean_z == precisely(z_of(reference, REWARD, 0.5), rel=1e-12)


@pytest.mark.parametrize("proposal", [None, [0.2, 0.3, 0.5]])
def test_a_hard_constraint_is_a_weight_of_zero_on_average_too(proposal):
    reward = np.array([0.0, -np.inf, 2.5])
    mean_z, _ = mean_over_paths(
        REFERENCE if proposal is None else np.array(proposal),
        4,
        beta=0.5,
        reward=reward,
        weighted=bool(proposal),
    )
    assert mean_z == precisely(0.5 + 0.2 * math.exp(5), rel=1e-12)


def test_an_outcome_that_the_proposal_never_draws_is_missed():
    # Importance sampling needs a proposal that covers the reference; no estimator can see the rest.
    mean_z, _ = mean_over_paths(np.array([0.5, 0.5, 0.0]), 3, beta=0.5)
    assert mean_z == precisely(0.5 + 0.3 * math.exp(2), rel=1e-12)


@pytest.mark.parametrize("wrong", ["left out", "upside down"])
def test_the_mean_over_paths_tells_wrong_weights(wrong):
    proposal, z = np.array([0.2, 0.3, 0.5]), z_of(REFERENCE, REWARD, 0.5)
    draws, prob = all_draws(proposal, 3)
    ratio = {"log_ref": np.log(proposal)[draws], "log_proposal": np.log(REFERENCE)[draws]}
    table = sampled(REWARD[draws], **({} if wrong == "left out" else ratio))
    assert prob @ np.exp(tiltz.estimate(table, 0.5, interval=None).log_z[:, 0]) > 2 * z


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("proposal", [None, [0.2, 0.3, 0.5]])
def test_draws_from_the_remainder_are_unbiased_for_z(n, proposal):
    listed, beta = np.array([0.4, 0.25]), 0.5
    draws, prob = all_draws(REFERENCE if proposal is None else proposal, n)
    ratio = {"log_ref": np.log(REFERENCE)[draws], "log_proposal": np.log(proposal)[draws]} if proposal else {}
    table = partial(
        np.tile(np.log(listed), (len(draws), 1)),
        np.tile([0.3, 1.7], (len(draws), 1)),
        reward_range=(0, 2.5),
        remainder=sampled(REWARD[draws], **ratio),
    )
    z = listed @ np.exp(np.array([0.3, 1.7]) / beta) + 0.35 * z_of(REFERENCE, REWARD, beta)
    assert prob @ np.exp(tiltz.estimate(table, beta).log_z[:, 0]) == precisely(z, rel=1e-12)
