"""The world of sums: its probabilities, its exact log Z, its draws, and the rollouts that ship with the package."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

import tiltz
from tests.oracles import precisely
from tiltz.errors import InputError
from tiltz.files import open_table, write_columns
from tiltz.testbeds import DEMO_FILE, Sums, demo_rollouts, sums, write_demo
from tiltz.testbeds.sums import DEMO_PROMPTS, DEMO_SAMPLES

SLIPS = np.array([0, 1, -1, 2, -2, 10, -10, 9, -9, 11, -11, 20, -20])
TOKENS, SHARES = np.array([1, 4, 13]), np.array([0.5, 0.3, 0.2])


def one_sum(skill, first=17, second=25):
    return Sums(first=np.array([first]), second=np.array([second]), skill=np.array([skill]))


def half_known():
    """Three prompts of different skill, one of them impossible."""
    return Sums(first=np.array([10, 20, 30]), second=np.array([11, 12, 13]), skill=np.array([0.5, 0.0, 1.0]))


# The world


def test_the_demo_has_mostly_hard_prompts_some_easy_and_one_in_ten_impossible():
    world = sums()
    assert len(world.prompt) == len(set(world.prompt)) == DEMO_PROMPTS
    assert world.prompt[0] == f"What is {world.first[0]} + {world.second[0]}?"
    assert world.first.min() >= 10
    assert world.first.max() <= 99
    assert world.second.min() >= 10
    assert world.second.max() <= 99
    # The skill is a cube of a uniform, and 0 with probability one in ten: counts within one in a million.
    for skill in (1e-300, 0.125, 0.5):
        low, high = stats.binom.ppf([5e-7, 1 - 5e-7], DEMO_PROMPTS, 1 - 0.9 * (1 - np.cbrt(skill)))
        assert low <= np.sum(world.skill < skill) <= high


def test_a_world_is_the_same_each_time():
    one, two = sums(), sums()
    for name in ("first", "second", "skill"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    other = sums(rng=np.random.default_rng(1))
    assert not np.array_equal(one.skill, other.skill)


def test_a_world_can_hold_every_sum_of_two_digits():
    world = sums(8100)
    assert len(set(zip(world.first.tolist(), world.second.tolist(), strict=True))) == 8100
    assert len(sums(1).prompt) == 1


@pytest.mark.parametrize("n_prompts", [0, -1, 8101])
def test_a_world_has_1_to_8100_prompts(n_prompts):
    with pytest.raises(InputError, match=r"1 to 8,100 prompts; found"):
        sums(n_prompts)


def test_probabilities_sum_to_one_for_each_prompt():
    world = sums()
    for i in range(DEMO_PROMPTS):
        table = world.table(i)
        assert math.fsum(np.exp(table["log_ref"])) == precisely(1.0, rel=1e-14)
        assert {len(column) for column in table.values()} == {39}
        assert len(set(table["completion"])) == 39


def test_the_completions_of_one_prompt_by_hand():
    table = one_sum(0.4).table(0)
    assert table["completion"][:4] == [
        "42",
        "It is 42.",
        "Let me add the tens first, then the ones: 42.",
        "43",
    ]
    assert table["completion"][-1] == "Let me add the tens first, then the ones: 22."
    assert np.exp(table["log_ref"][:4]) == pytest.approx([0.2, 0.12, 0.08, 0.5 * 0.6 / 12], rel=1e-14)
    assert table["reward"].tolist() == [1.0] * 3 + [0.0] * 36
    assert table["n_tokens"][:4].tolist() == [1, 4, 13, 1]
    assert table["closeness"][:2] == pytest.approx([0.99, 0.96])
    assert table["closeness"][-1] == pytest.approx(math.exp(-4) - 0.13)


def test_the_right_number_is_the_only_one_rewarded():
    world = sums(20)
    for i in range(20):
        table, answer = world.table(i), int(world.first[i] + world.second[i])
        numbers = [int(text.rstrip(".").split()[-1]) for text in table["completion"]]
        assert table["reward"].tolist() == [float(number == answer) for number in numbers]
        # Correct within rounding of exp and log.
        correct = np.exp(table["log_ref"]) @ table["reward"]
        assert correct == pytest.approx(world.skill[i], rel=1e-14, abs=0.0)


# log Z


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0, 1e4])
def test_log_z_of_the_exact_sum_by_hand(beta):
    world = sums()
    est = tiltz.estimate(world.outcomes(), beta)
    assert est.prompt.tolist() == world.prompt
    assert set(est.kind[:, 0]) == {"exact"}
    with np.errstate(divide="ignore"):
        wanted = np.logaddexp(np.log1p(-world.skill), np.log(world.skill) + 1 / beta)
    np.testing.assert_allclose(est.log_z[:, 0], wanted, rtol=1e-12, atol=1e-15)
    assert np.all(np.abs(est.log_z[world.skill == 0, 0]) < 1e-15)


def test_log_z_of_one_sum_by_hand():
    # Z = 0.6 + 0.4 e^2 at beta 1/2.
    table = one_sum(0.4).outcomes()
    assert math.exp(float(tiltz.estimate(table, 0.5))) == precisely(0.6 + 0.4 * math.e**2, rel=1e-14)
    assert math.exp(float(tiltz.estimate(table, 0.5))) == pytest.approx(3.555622, abs=5e-7)


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0, 1e4])
@pytest.mark.parametrize("skill", [0.0, 0.3, 1.0])
def test_log_z_of_closeness_is_that_of_the_number_plus_that_of_the_tokens(beta, skill):
    share = np.array([skill, *np.full(12, (1 - skill) / 12)])
    numbers = share @ np.exp(np.exp(-np.abs(SLIPS) / 5) / beta)
    tokens = SHARES @ np.exp(-0.01 * TOKENS / beta)
    found = float(tiltz.estimate(one_sum(skill).outcomes("closeness"), beta))
    assert found == pytest.approx(math.log(numbers) + math.log(tokens), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("reward", ["", "score", None])
def test_a_world_has_two_rewards(reward):
    with pytest.raises(InputError, match="reward must be one of reward, closeness; found"):
        one_sum(0.5).outcomes(reward)


# Draws


def chi_square(counts, prob):
    expected = counts.sum() * prob
    assert expected.min() > 20
    return np.sum((counts - expected) ** 2 / expected), stats.chi2.isf(1e-6, len(prob) - 1)


def test_draws_have_the_probabilities_of_the_reference():
    world, n = one_sum(0.4), 60_000
    table = world.table(0)
    drawn = world.draw(n, rng=np.random.default_rng(12))["completion"]
    place = {text: i for i, text in enumerate(table["completion"])}
    counts = np.bincount([place[text] for text in drawn], minlength=39)
    distance, limit = chi_square(counts, np.exp(table["log_ref"]))
    assert distance <= limit
    # The same counts against a world of slightly less skill, or of other shares of the forms, are refused.
    distance, limit = chi_square(counts, np.exp(one_sum(0.37).table(0)["log_ref"]))
    assert distance > limit
    swapped = np.exp(table["log_ref"]).reshape(13, 3)[:, [0, 2, 1]].reshape(-1)
    distance, limit = chi_square(counts, swapped)
    assert distance > limit


class Fixed:
    """A generator of one uniform."""

    def __init__(self, uniform):
        self.uniform = uniform

    def random(self, size):
        return np.full(size, self.uniform)


@pytest.mark.parametrize("uniform", [0.0, 2.0**-53, 0.5, 1 - 2.0**-53])
def test_what_has_no_probability_is_never_drawn(uniform):
    columns = half_known().draw(2, rng=Fixed(uniform))
    assert columns["reward"][2:] == [0.0, 0.0, 1.0, 1.0]
    assert np.all(np.isfinite(columns["log_ref"]))


def test_each_uniform_picks_by_the_inverse_distribution_function():
    world = one_sum(0.4)
    table = world.table(0)
    edges = np.concatenate([[0.0], np.cumsum(np.exp(table["log_ref"]))])
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        for share in (1e-9, 0.5, 1 - 1e-9):
            columns = world.draw(1, rng=Fixed(low + share * (high - low)))
            assert columns["completion"] == [table["completion"][i]]


def test_draws_are_columns_in_the_layout_of_tiltz():
    world = half_known()
    columns = world.draw(4, rng=np.random.default_rng(0))
    assert list(columns) == [
        "prompt_id",
        "prompt",
        "completion",
        "reward",
        "closeness",
        "log_ref",
        "n_tokens",
    ]
    assert {len(column) for column in columns.values()} == {12}
    assert columns["prompt_id"] == [name for name in ("sum-000", "sum-001", "sum-002") for _ in range(4)]
    assert columns["prompt"] == [prompt for prompt in world.prompt for _ in range(4)]
    for i, row in enumerate(zip(*columns.values(), strict=True)):
        table = world.table(i // 4)
        place = table["completion"].index(row[2])
        assert row[3:] == tuple(table[name][place] for name in list(columns)[3:])
        assert [type(value) for value in row] == [str, str, str, float, float, float, int]


# The rollouts that ship with the package


def columns_of(path):
    table = open_table([str(path)])
    arrays = table.arrays(f'SELECT * FROM {table.relation} ORDER BY "tiltz:position"')
    return {name: arrays[name] for name in table.columns}, table


def check_columns(found, wanted):
    """Compare two sets of rollouts."""
    assert list(found) == list(wanted)
    for name, column in wanted.items():
        assert not np.ma.is_masked(found[name])
        if name in ("log_ref", "closeness"):
            # The last bit of NumPy's log and exp depends on the instructions that a processor has.
            np.testing.assert_allclose(found[name], column, rtol=1e-15, atol=1e-16)
        else:
            assert np.asarray(found[name]).tolist() == list(column), name


def test_the_demo_that_ships_is_its_recipe():
    found, table = columns_of(DEMO_FILE)
    wanted = demo_rollouts()
    check_columns(found, wanted)
    assert len(wanted["reward"]) == DEMO_PROMPTS * DEMO_SAMPLES == 3840
    (metadata,) = table.metadata
    wanted = {"ref_id": "tiltz.testbeds.sums", "reward_id": "exact sum", "stopping": "fixed"}
    assert metadata.items() >= wanted.items()


def test_another_recipe_is_not_the_demo():
    found, _ = columns_of(DEMO_FILE)
    assert (
        found["completion"].tolist() != sums().draw(DEMO_SAMPLES, rng=np.random.default_rng(8))["completion"]
    )


def test_the_demo_can_be_written_anew(tmp_path):
    path = tmp_path / "again.parquet"
    write_demo(path)
    found, table = columns_of(path)
    shipped, shipped_table = columns_of(DEMO_FILE)
    check_columns(found, shipped)
    assert table.columns == shipped_table.columns
    assert table.metadata == shipped_table.metadata


@pytest.mark.parametrize("reward", ["reward", "closeness"])
def test_the_demo_is_read_as_draws_from_the_reference(reward):
    rollouts, wanted = tiltz.read(DEMO_FILE, reward=reward), demo_rollouts()
    np.testing.assert_allclose(rollouts.reward, wanted[reward], rtol=1e-15, atol=1e-16)
    assert rollouts.prompt.tolist() == list(dict.fromkeys(wanted["prompt_id"]))
    assert rollouts.n.tolist() == [DEMO_SAMPLES] * DEMO_PROMPTS
    assert rollouts.drawn_from == "reference"
    assert not rollouts.weighted


def test_the_average_of_the_demo_agrees_with_the_truth():
    # Z at beta 1/2 lies in [1, e^2]; its mean over the prompts against the truth, in standard errors of the draws.
    world, rewards = sums(), np.array(demo_rollouts()["reward"]).reshape(DEMO_PROMPTS, DEMO_SAMPLES)
    gain = math.e**2 - 1
    truth = 1 + gain * world.skill
    error = gain * math.sqrt(np.sum(world.skill * (1 - world.skill)) / DEMO_SAMPLES) / DEMO_PROMPTS
    est = tiltz.estimate(tiltz.Outcomes.sampled(rewards), 0.5, interval=None)
    assert abs(np.exp(est.log_z[:, 0]).mean() - truth.mean()) <= 4.89 * error
    # Without the impossible prompts the same draws are off by more than that.
    assert abs(np.exp(est.log_z[world.skill > 0, 0]).mean() - truth.mean()) > 4.89 * error


def test_draws_survive_a_file(tmp_path):
    columns, path = half_known().draw(5, rng=np.random.default_rng(2)), tmp_path / "few.jsonl"
    write_columns(columns, path)
    assert tiltz.read(path).reward.tolist() == columns["reward"]
