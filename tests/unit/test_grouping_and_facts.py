"""Which rows belong together, and what a whole table shows about its rewards."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltz.errors import InputError
from tiltz.facts import IMPROBABLE, TableFacts
from tiltz.grouping import group_rows

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=30)
AS_TEXT = np.array(["f", "e", "d", "a", "b", "c"], dtype=object)


def by_dictionary(keys):
    """Rows of each key, keys in order of first appearance."""
    rows = {}
    for i, key in enumerate(keys):
        rows.setdefault(key, []).append(i)
    return rows


def check(groups, prompt, step=None):
    """Compare a partition with that of a dictionary, and its parts with one another."""
    keys = list(prompt.tolist()) if step is None else list(zip(step.tolist(), prompt.tolist(), strict=True))
    wanted = by_dictionary(keys)
    found = (
        groups.prompt.tolist()
        if step is None
        else list(zip(groups.step.tolist(), groups.prompt.tolist(), strict=True))
    )
    assert found == list(wanted)
    assert groups.size.tolist() == [len(rows) for rows in wanted.values()]
    rows = np.arange(len(prompt))
    assert groups.gather(rows).tolist() == [i for group in wanted.values() for i in group]
    assert groups.start.tolist() == [0, *np.cumsum(groups.size)]
    for group, members in enumerate(wanted.values()):
        assert np.all(groups.of_row[members] == group)
    assert np.array_equal(groups.scatter(groups.gather(rows)), rows)
    assert np.array_equal(groups.gather(groups.scatter(rows)), rows)
    assert (groups.order is None) == bool(np.all(np.diff(groups.of_row) >= 0))
    assert (groups.step is None) == (step is None)


# Grouping


def test_groups_stand_in_order_of_first_appearance():
    groups = group_rows(np.array(["c", "a", "c", "b", "a"]))
    assert groups.prompt.tolist() == ["c", "a", "b"]
    assert groups.of_row.tolist() == [0, 1, 0, 2, 1]
    assert groups.order.tolist() == [0, 2, 1, 4, 3]
    assert groups.start.tolist() == [0, 2, 4, 5]


def test_rows_that_stand_together_need_no_order():
    groups = group_rows(np.array([9, 9, -4, 7, 7]))
    assert groups.prompt.tolist() == [9, -4, 7]
    assert groups.order is None
    values = np.arange(5.0)
    assert groups.gather(values) is values
    assert groups.scatter(values) is values


def test_a_step_and_a_prompt_make_a_group():
    groups = group_rows(np.array(["a", "b", "a", "b", "a"]), np.array([2, 2, 1, 2, 2], dtype=np.int16))
    assert groups.prompt.tolist() == ["a", "b", "a"]
    assert groups.step.tolist() == [2, 2, 1]
    assert groups.of_row.tolist() == [0, 1, 2, 1, 0]


@given(LABELS, st.booleans())
def test_any_labels_are_grouped_as_a_dictionary_does(labels, text):
    prompt = AS_TEXT[labels] if text else np.array(labels)
    check(group_rows(prompt), prompt)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2)), min_size=1, max_size=30), st.booleans())
def test_any_steps_are_grouped_as_a_dictionary_does(pairs, text):
    labels, step = np.array(pairs).T
    prompt = AS_TEXT[labels] if text else labels
    check(group_rows(prompt, step), prompt, step)


@pytest.mark.parametrize("kind", ["integers", "strings", "objects"])
@pytest.mark.parametrize("with_steps", [False, True])
def test_a_hundred_thousand_rows_are_grouped_as_a_dictionary_does(kind, with_steps):
    rng = np.random.default_rng(11)
    code = rng.integers(-(2**62), 2**62, size=3000)[(3000 * rng.random(100_000) ** 3).astype(int)]
    text = np.array([f"What is {i}?" for i in code])
    prompt = {"integers": code, "strings": text, "objects": text.astype(object)}[kind]
    step = rng.integers(0, 7, size=len(code)) * 10**15 if with_steps else None
    check(group_rows(prompt, step), prompt, step)


@pytest.mark.parametrize("columns", [(), (2,), (2, 3)])
def test_gather_and_scatter_are_inverse_for_columns_too(columns):
    rng = np.random.default_rng(1)
    groups, values = group_rows(rng.integers(0, 5, size=40)), rng.normal(size=(40, *columns))
    assert np.array_equal(groups.scatter(groups.gather(values)), values)
    assert not np.array_equal(groups.gather(values), values)


def test_gather_and_scatter_leave_their_argument_alone():
    groups, values = group_rows(np.array([1, 0, 1])), np.array([1.0, 2.0, 3.0])
    groups.gather(values)[:] = 0.0
    groups.scatter(values)[:] = 0.0
    assert values.tolist() == [1.0, 2.0, 3.0]


@given(LABELS, st.data())
def test_a_selection_is_the_partition_of_the_rows_that_are_left(labels, data):
    prompt = AS_TEXT[labels]
    groups = group_rows(prompt)
    mask = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(groups.prompt), max_size=len(groups.prompt)))
    )
    if not mask.any():
        with pytest.raises(InputError, match="no prompt is left"):
            groups.mask(mask)
        return
    assert np.array_equal(groups.mask(mask), mask)
    assert np.array_equal(groups.mask(groups.prompt[mask]), mask)
    check(groups.select(mask), prompt[mask[groups.of_row]])


def test_a_selection_keeps_the_steps():
    groups = group_rows(np.array([5, 5, 6, 5]), np.array([1, 2, 1, 1])).select(np.array([True, False, True]))
    assert groups.prompt.tolist() == [5, 6]
    assert groups.step.tolist() == [1, 1]
    assert groups.of_row.tolist() == [0, 1, 0]


def test_how_messages_call_a_group():
    assert group_rows(np.array([7])).name(0) == "prompt 7"
    assert group_rows(np.array(["it's"])).name(0) == 'prompt "it\'s"'
    assert group_rows(np.array(["a\nb"])).name(0) == r"prompt 'a\nb'"
    assert group_rows(np.array(["a"]), np.array([3])).name(0) == "prompt 'a' of step 3"
    assert group_rows(np.array(["x" * 300])).name(0) == f"prompt '{'x' * 57}...'"


def test_labels_of_the_caller_are_not_written_to():
    for prompt in (np.array(["b", "a"], dtype=object), np.array([2, 1])):
        step = np.array([1, 1])
        groups = group_rows(prompt, step)
        assert prompt.flags.writeable
        assert step.flags.writeable
        prompt[:] = prompt[::-1].copy()
        step[:] = 9
        assert groups.prompt.tolist() in (["b", "a"], [2, 1])
        assert groups.step.tolist() == [1, 1]


@pytest.mark.parametrize("step", [2**63, 2**64 - 1])
def test_a_step_beyond_64_bits_is_kept_or_refused_but_never_changed(step):
    try:
        kept = group_rows(np.array(["a", "a"]), np.array([step, 1], dtype=np.uint64)).step.tolist()
    except InputError:
        return
    assert kept == [step, 1]


# Facts

VALUES = (0.0, 1.0, -1.5, -math.inf)


@st.composite
def rewards_and_labels(draw):
    """Rewards out of a few values, and a label for each; often only one or two values."""
    values = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=4))
    labels = draw(LABELS)
    return np.array(
        draw(st.lists(st.sampled_from(values), min_size=len(labels), max_size=len(labels)))
    ), np.array(labels)


def facts_of(reward, labels=None):
    reward = np.asarray(reward, dtype=float)
    return TableFacts.of(
        reward, group_rows(np.zeros(len(reward), dtype=int) if labels is None else np.asarray(labels))
    )


def by_counting(reward, labels):
    """The facts, one by one."""
    distinct = sorted(set(reward.tolist()))
    groups = [reward[labels == label].tolist() for label in dict.fromkeys(labels.tolist())]
    return {
        "values": tuple(distinct[:3]),
        "counts": tuple(reward.tolist().count(value) for value in distinct[:3]),
        "n_equal_groups": sum(len(group) > 1 and len(set(group)) == 1 for group in groups),
        "two_valued": len(distinct) == 2 and all(reward.tolist().count(value) >= 2 for value in distinct),
    }


@given(rewards_and_labels())
def test_facts_are_what_counting_finds(rows):
    facts = facts_of(*rows)
    for name, wanted in by_counting(*rows).items():
        assert getattr(facts, name) == wanted


@given(rewards_and_labels(), st.randoms(use_true_random=False))
def test_facts_do_not_depend_on_the_order_of_rows(rows, random):
    reward, labels = rows
    order = list(range(len(reward)))
    random.shuffle(order)
    one, two = facts_of(reward, labels), facts_of(reward[order], labels[order])
    assert (one.values, one.counts, one.n_equal_groups) == (two.values, two.counts, two.n_equal_groups)
    assert one.log_prob_none_equal == pytest.approx(two.log_prob_none_equal, rel=1e-12, abs=1e-15)


def same(one, two):
    return (
        (one.values, one.counts, one.n_equal_groups) == (two.values, two.counts, two.n_equal_groups)
        and one.two_valued == two.two_valued
        and one.equal_groups_missing == two.equal_groups_missing
    )


@given(rewards_and_labels(), rewards_and_labels())
def test_merged_facts_are_those_of_one_table(one, two):
    merged = facts_of(*one).merge(facts_of(*two))
    union = facts_of(np.append(one[0], two[0]), np.append(one[1], two[1] + 100))
    assert same(merged, union)
    if union.n_equal_groups == 0:
        assert merged.log_prob_none_equal == pytest.approx(union.log_prob_none_equal, rel=1e-12, abs=1e-15)


@given(rewards_and_labels(), rewards_and_labels())
def test_merged_facts_give_the_probability_of_one_table(one, two):
    merged = facts_of(*one).merge(facts_of(*two))
    union = facts_of(np.append(one[0], two[0]), np.append(one[1], two[1] + 100))
    assert merged.log_prob_none_equal == pytest.approx(union.log_prob_none_equal, rel=1e-12, abs=1e-15)


@given(rewards_and_labels(), rewards_and_labels(), rewards_and_labels())
def test_merging_is_commutative_and_associative(one, two, three):
    a, b, c = facts_of(*one), facts_of(*two), facts_of(*three)
    assert same(a.merge(b), b.merge(a))
    assert same(a.merge(b).merge(c), a.merge(b.merge(c)))


def test_merging_many_shards_is_one_table():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 200, size=3000)
    reward = (rng.random(3000) < rng.random(200)[labels]).astype(float)
    merged, *rest = (facts_of(reward[labels % 7 == k], labels[labels % 7 == k]) for k in range(7))
    for shard in rest:
        merged = merged.merge(shard)
    assert same(merged, facts_of(reward, labels))


@pytest.mark.parametrize(
    ("reward", "two_valued"),
    [
        ([0, 0, 1, 1], True),
        ([0, 1, 0, 1, 1], True),
        ([0, 0, 0, 1], False),
        ([0, 1], False),
        ([1, 1, 1], False),
        ([0, 0, 1, 1, 2], False),
        ([0, 0, 1, 1, 2, 2], False),
        ([-math.inf, -math.inf, 3, 3], True),
        ([0.1, 0.1, 0.1 + 1e-18, 0.2, 0.2], True),
        ([0.0, -0.0, 1, 1], True),
        ([0.1, 0.1, 0.1 + 1e-12, 0.2, 0.2], False),
        ([0.3, 0.1 + 0.2, 1, 1], True),
    ],
)
def test_two_values_are_exactly_two_each_seen_twice(reward, two_valued):
    assert facts_of(reward).two_valued is two_valued


def test_a_value_can_be_seen_twice_in_different_prompts_and_shards():
    assert facts_of([0, 1, 0, 1], [0, 0, 1, 1]).two_valued
    assert facts_of([0, 1]).merge(facts_of([0, 1])).two_valued
    assert facts_of([0, 0]).merge(facts_of([1, 1])).two_valued
    assert not facts_of([0, 0, 1, 1]).merge(facts_of([2])).two_valued


@pytest.mark.parametrize(("n_groups", "missing"), [(6, False), (7, True)])
def test_groups_of_equal_rewards_are_missed_when_chance_would_have_made_one(n_groups, missing):
    # One success in two: the posterior mean of the rate is 1/2, so a group is equal with probability 1/2;
    # 2**-6 is above one in a hundred, 2**-7 below.
    assert 2.0**-7 < IMPROBABLE < 2.0**-6
    facts = facts_of([0, 1] * n_groups, np.repeat(np.arange(n_groups), 2))
    assert facts.log_prob_none_equal == pytest.approx(-n_groups * math.log(2), rel=1e-14)
    assert bool(facts.equal_groups_missing) is missing


def test_the_probability_of_no_equal_group_by_hand():
    facts = facts_of([0, 0, 1, 1, 1, 1, 0, 1], [0, 0, 0, 1, 1, 1, 1, 2])
    rates = [(1.5 / 4, 3), (3.5 / 5, 4)]
    wanted = sum(math.log(1 - p**n - (1 - p) ** n) for p, n in rates)
    assert facts.log_prob_none_equal == pytest.approx(wanted, rel=1e-14)
    assert facts.n_equal_groups == 0


def test_one_equal_group_dispels_the_suspicion():
    reward, labels = [0, 1] * 50, np.repeat(np.arange(50), 2)
    assert facts_of(reward, labels).equal_groups_missing
    assert not facts_of([*reward, 1, 1], [*labels, 50, 50]).equal_groups_missing
    assert not facts_of(reward, labels).merge(facts_of([1, 1])).equal_groups_missing


def test_single_draws_are_no_equal_groups():
    facts = facts_of([0, 1] * 50, np.arange(100))
    assert facts.n_equal_groups == 0
    assert facts.log_prob_none_equal == 0.0
    assert not facts.equal_groups_missing


def test_groups_of_three_rewards_are_never_suspected():
    facts = facts_of([0, 1, 2] * 50, np.repeat(np.arange(50), 3))
    assert facts.log_prob_none_equal == 0.0
    assert not facts.equal_groups_missing
    two = facts_of([0, 1] * 50, np.repeat(np.arange(50), 2))
    assert not two.merge(facts_of([2])).equal_groups_missing


def test_facts_do_not_write_to_the_rewards():
    reward = np.array([2.0, 1.0, 2.0])
    reward.setflags(write=False)
    assert facts_of(reward, [1, 0, 1]).values == (1.0, 2.0)
