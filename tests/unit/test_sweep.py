"""The curve over beta: the estimate's own bits, moments by the definitions, what is reliable, how it is shown."""

import math

import numpy as np
import pytest
from rich.cells import cell_len

import tiltz
from tests.oracles import close, exact, precisely
from tiltz.errors import InputError

sampled, complete, partial = tiltz.Outcomes.sampled, tiltz.Outcomes.complete, tiltz.Outcomes.partial

BETAS = [0.05, 1.0, 30.0, 1e6]
ARRAYS = ("log_z", "lo", "hi", "soft_value", "ess")
MOMENTS = ("mean_reward", "kl", "kl_reverse")


def tables():
    rng = np.random.default_rng(3)
    labels = rng.permutation(np.repeat(["a", "b", "c"], 6))
    rewards = np.where(rng.random(18) < 0.2, -np.inf, rng.normal(size=18))
    logs = {"log_ref": rng.normal(size=18), "log_proposal": rng.normal(size=18)}
    listed = np.log(rng.dirichlet(np.ones(4), size=2)[:, :3])
    return {
        "complete": complete(np.log(rng.dirichlet(np.ones(5), size=3)), rng.normal(size=(3, 5))),
        "partial": partial(listed, rng.random((2, 3)), reward_range=(0, 1)),
        "draws": sampled(rewards, prompt=labels),
        "weighted": sampled(rewards, prompt=labels, **logs),
        "two values": sampled(rng.integers(0, 2, size=(4, 8)), reward_values=(0, 1)),
        "equal": sampled([[0.5] * 4, [0.1, 0.2, 0.3, 0.4]]),
        "range": sampled(rng.random((3, 30)), reward_range=(0, 1)),
        "steps": sampled(rng.random(8), prompt=[0, 0, 1, 1] * 2, step=[1] * 4 + [2] * 4),
    }


TABLES = tables()
each_table = pytest.mark.parametrize("outcomes", TABLES.values(), ids=TABLES)


# The same numbers as an estimate


@each_table
@pytest.mark.parametrize("options", [{}, {"level": 0.8}, {"interval": "delta"}, {"interval": None}])
def test_points_and_limits_are_those_of_the_estimate(outcomes, options):
    curve, est = tiltz.sweep(outcomes, BETAS, **options), tiltz.estimate(outcomes, BETAS, **options)
    for name in ("beta", "prompt", "kind", "flags"):
        assert getattr(curve, name).tolist() == getattr(est, name).tolist()
    for name in ARRAYS:
        assert getattr(curve, name).tobytes() == getattr(est, name).tobytes()
    assert curve.estimate.level == est.level
    assert curve.estimate.bias.tobytes() == est.bias.tobytes()
    assert curve.estimate.notes == est.notes


@pytest.mark.parametrize("declared", [{"reward_values": (0, 1)}, {"reward_range": (-1, 2)}])
def test_declarations_of_the_call_reach_the_estimate(declared):
    outcomes = sampled([[0, 1, 1, 0], [0, 0, 0, 0]])
    curve, est = tiltz.sweep(outcomes, BETAS, **declared), tiltz.estimate(outcomes, BETAS, **declared)
    assert curve.kind.tolist() == est.kind.tolist()
    assert curve.hi.tobytes() == est.hi.tobytes()


def test_a_generator_moves_the_curve_as_it_moves_the_estimate():
    outcomes = sampled(np.random.default_rng(5).normal(size=(2, 60)))
    options = {"interval": "bootstrap-t"}
    curves = [tiltz.sweep(outcomes, BETAS, rng=np.random.default_rng(seed), **options) for seed in (1, 1, 2)]
    est = tiltz.estimate(outcomes, BETAS, rng=np.random.default_rng(1), **options)
    assert curves[0].hi.tobytes() == curves[1].hi.tobytes() == est.hi.tobytes()
    assert curves[2].hi.tobytes() != est.hi.tobytes()


@pytest.mark.parametrize("name", ["range", "two values"])
def test_limits_for_all_betas_together_enclose_those_for_each(name):
    curve, together = (
        tiltz.sweep(TABLES[name], BETAS, simultaneous=simultaneous) for simultaneous in (False, True)
    )
    assert np.array_equal(curve.log_z, together.log_z)
    assert np.all(together.lo <= curve.lo)
    assert np.all(curve.hi <= together.hi)


def test_one_band_of_two_possible_rewards_serves_all_betas_together():
    curve, together = (
        tiltz.sweep(TABLES["two values"], BETAS, simultaneous=simultaneous) for simultaneous in (False, True)
    )
    assert curve.lo.tobytes() == together.lo.tobytes()
    assert curve.hi.tobytes() == together.hi.tobytes()


def test_limits_for_one_beta_at_a_time_are_refused_together():
    with pytest.raises(InputError, match="holds for one beta at a time"):
        tiltz.sweep(TABLES["draws"], BETAS, interval="delta", simultaneous=True)


@each_table
def test_a_prompt_alone_gives_the_same_curve(outcomes):
    if outcomes.step is not None:
        outcomes = sampled(outcomes.reward, prompt=np.repeat(np.arange(4), 2))
    whole = tiltz.sweep(outcomes, BETAS)
    for i, label in enumerate(outcomes.prompt):
        alone = tiltz.sweep(outcomes.select([label]), BETAS)
        for name in (*ARRAYS, *MOMENTS, "reliable"):
            assert getattr(whole, name)[i].tobytes() == getattr(alone, name)[0].tobytes()


@each_table
def test_a_beta_alone_gives_the_same_point(outcomes):
    whole = tiltz.sweep(outcomes, BETAS)
    for j, beta in enumerate(BETAS):
        alone = tiltz.sweep(outcomes, beta)
        for name in (*ARRAYS, *MOMENTS, "reliable"):
            assert getattr(whole, name)[:, j].tobytes() == getattr(alone, name)[:, 0].tobytes()


def test_betas_stay_in_the_order_given():
    curve = tiltz.sweep(TABLES["complete"], [3.0, 0.1, 3.0])
    assert curve.beta.tolist() == [3.0, 0.1, 3.0]
    assert np.array_equal(curve.kl[:, 0], curve.kl[:, 2])
    assert np.all(curve.kl[:, 1] > curve.kl[:, 0])


# Moments


@pytest.mark.parametrize("offset", [0.0, 1e5])
@pytest.mark.parametrize("beta", [1e-8, 0.3, 1.0, 50.0, 1e8])
def test_moments_of_a_whole_domain_by_the_definitions(beta, offset):
    log_ref = np.log([0.1, 0.2, 0.3, 0.4])
    reward = np.array([2.0, -1.0, 0.25, 0.5]) + offset
    table = complete(log_ref, reward)
    curve = tiltz.sweep(table, beta)
    truth = exact([float(p) for p in np.exp(table.log_weight)], reward.tolist(), beta)
    assert close(curve.mean_reward[0, 0], truth["mean_reward"], 1e-13)
    assert curve.kl[0, 0] == precisely(truth["kl"], rel=1e-11)
    assert abs(curve.kl_reverse[0, 0] - float(truth["kl_reverse"])) <= 1e-11 * float(truth["kl_reverse"])
    assert curve.ess[0, 0] == precisely(4 * truth["rel_ess"], rel=1e-12)


@pytest.mark.parametrize("beta", [0.1, 1.0, 1e4])
def test_moments_of_draws_are_those_of_equal_masses(beta):
    rewards = np.random.default_rng(1).normal(size=(3, 7))
    curve = tiltz.sweep(sampled(rewards), beta)
    for i, row in enumerate(rewards):
        truth = exact([1] * 7, row.tolist(), beta)
        assert close(curve.mean_reward[i, 0], truth["mean_reward"])
        assert curve.kl[i, 0] == precisely(truth["kl"], rel=1e-11)
        assert curve.kl_reverse[i, 0] == precisely(truth["kl_reverse"], rel=1e-11)


@pytest.mark.parametrize("beta", [0.1, 1.0, 1e4])
def test_moments_of_weighted_draws_by_the_definitions(beta):
    rng = np.random.default_rng(2)
    reward, log_weight = rng.normal(size=9), rng.normal(size=9)
    curve = tiltz.sweep(sampled(reward, log_ref=log_weight, log_proposal=np.zeros(9)), beta)
    weight = np.exp(log_weight)
    # The reference that both divergences compare with is the one of the self-normalised weights.
    truth = exact(weight.tolist(), reward.tolist(), beta)
    assert close(curve.log_z[0, 0], float(truth["log_z"]) + math.log(weight.mean()))
    assert close(curve.mean_reward[0, 0], truth["mean_reward"])
    assert curve.kl[0, 0] == precisely(truth["kl"], rel=1e-10)
    assert curve.kl_reverse[0, 0] == precisely(truth["kl_reverse"], rel=1e-10)


def test_a_hard_constraint_has_a_kl_and_no_way_back():
    curve = tiltz.sweep(complete(np.log([0.5, 0.5]), [-np.inf, 1.0]), [0.1, 1e9])
    assert curve.kl[0].tolist() == pytest.approx([math.log(2)] * 2, rel=1e-15)
    assert np.all(np.isposinf(curve.kl_reverse))
    assert curve.mean_reward[0].tolist() == [1.0, 1.0]


def test_nothing_possible_has_no_moments():
    curve = tiltz.sweep(sampled([[-np.inf] * 3, [0.0, 1.0, 2.0]]), [0.1, 10.0])
    for name in MOMENTS:
        assert np.all(np.isnan(getattr(curve, name)[0]))
        assert np.all(np.isfinite(getattr(curve, name)[1]))


def test_partial_tables_leave_the_moments_open():
    curve = tiltz.sweep(TABLES["partial"], BETAS)
    for name in MOMENTS:
        assert getattr(curve, name).shape == (2, len(BETAS))
        assert np.all(np.isnan(getattr(curve, name)))
    assert np.all(np.isfinite(curve.log_z))


# Which cells are reliable


@each_table
@pytest.mark.parametrize("width", [1e-6, 0.3, 1.0, 7.5])
def test_reliable_means_two_sides_and_at_most_the_width(outcomes, width):
    curve = tiltz.sweep(outcomes, BETAS, width=width)
    with np.errstate(invalid="ignore"):
        narrow = curve.hi - curve.lo <= width
    wanted = (curve.kind == "exact") | narrow & (curve.kind != "lower-only")
    assert curve.reliable.dtype == np.bool_
    assert np.array_equal(curve.reliable, wanted)
    assert curve.width == width


def test_the_width_itself_is_still_reliable():
    outcomes = TABLES["draws"].select(["a"])
    curve = tiltz.sweep(outcomes, 1.0, interval="delta")
    widest = float(curve.hi[0, 0] - curve.lo[0, 0])
    assert tiltz.sweep(outcomes, 1.0, interval="delta", width=widest).reliable.all()
    assert not tiltz.sweep(outcomes, 1.0, interval="delta", width=math.nextafter(widest, 0)).reliable.any()


def test_a_lower_bound_alone_is_not_reliable_and_an_exact_answer_is():
    assert not tiltz.sweep(sampled([0.0, 0.0]), BETAS, width=1e300).reliable.any()
    assert tiltz.sweep(complete([0.0], [-np.inf]), BETAS, width=1e-300).reliable.all()


@each_table
def test_without_intervals_nothing_is_reliable(outcomes):
    curve = tiltz.sweep(outcomes, BETAS, interval=None)
    assert np.all(np.isnan(curve.lo) & np.isnan(curve.hi))
    assert set(curve.kind.reshape(-1)) == {"point"}
    assert not curve.reliable.any()
    moments = tiltz.sweep(outcomes, BETAS)
    for name in MOMENTS:
        assert getattr(curve, name).tobytes() == getattr(moments, name).tobytes()


@pytest.mark.parametrize("offset", [0.0, 1e5])
@pytest.mark.parametrize("interval", ["delta", "clopper-pearson"])
def test_no_small_beta_becomes_reliable_by_rounding(interval, offset):
    # Eight draws cannot bound log Z within a nat at beta 0.001; at smaller betas log Z only grows, and with it its ulp.
    rewards = np.array([0, 1, 1, 0, 0, 0, 1, 0]) + offset
    outcomes = sampled(rewards, reward_values=(offset, offset + 1))
    if interval == "delta":
        outcomes = sampled(offset + np.random.default_rng(0).normal(size=8))
    curve = tiltz.sweep(outcomes, [1e-3, 1e-10, 1e-13, 1e-17, 1e-20, 1e-300], interval=interval)
    assert not curve.reliable.any()


# Tables and means


def test_the_long_table():
    curve = tiltz.sweep(TABLES["steps"], [0.5, 2.0])
    columns = curve.to_dict()
    assert list(columns) == [*curve.estimate.to_dict(), "mean_reward", "kl", "kl_reverse", "reliable"]
    assert columns["prompt"] == [0, 0, 1, 1] * 2
    assert columns["step"] == [1] * 4 + [2] * 4
    assert columns["beta"] == [0.5, 2.0] * 4
    for name in ("log_z", *MOMENTS, "reliable"):
        assert columns[name] == getattr(curve, name).reshape(-1).tolist()
    assert all(len(column) == 8 for column in columns.values())
    assert all(type(flag) is bool for flag in columns["reliable"])
    assert all(type(x) is float for name in ("log_z", *MOMENTS) for x in columns[name])


@each_table
def test_the_mean_curve_is_the_mean_over_prompts(outcomes):
    curve = tiltz.sweep(outcomes, BETAS)
    mean, overall = curve.mean_curve(), curve.estimate.overall
    assert list(mean) == ["beta", "soft_value", "lo", "hi", "mean_reward", "kl", "ess", "reliable"]
    assert mean["beta"] == BETAS
    for name in ("soft_value", "lo", "hi"):
        assert mean[name] == getattr(overall, name).tolist()
    for name in ("mean_reward", "kl", "ess", "reliable"):
        np.testing.assert_allclose(mean[name], getattr(curve, name).mean(axis=0), rtol=1e-14)


def test_the_mean_curve_of_one_prompt_is_its_own():
    curve = tiltz.sweep(TABLES["draws"].select(["b"]), BETAS, interval="delta")
    mean = curve.mean_curve()
    assert mean["soft_value"] == curve.soft_value[0].tolist()
    np.testing.assert_allclose(mean["lo"], curve.beta * curve.lo[0], rtol=1e-15)
    np.testing.assert_allclose(mean["hi"], curve.beta * curve.hi[0], rtol=1e-15)
    assert mean["kl"] == curve.kl[0].tolist()
    assert mean["reliable"] == curve.reliable[0].astype(float).tolist()


def test_curves_cannot_be_written_to():
    curve = tiltz.sweep(TABLES["draws"], BETAS)
    for name in (*ARRAYS, *MOMENTS, "reliable", "beta"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(curve, name)[...] = 0
    with pytest.raises(AttributeError):
        curve.width = 2.0


# What is shown


def wide(text):
    return max(cell_len(line) for line in text.split("\n"))


def test_the_summary_by_hand():
    curve = tiltz.sweep(complete(np.log([0.6, 0.4]), [2.0, 1.0]), [0.01, 1.0, 100.0])
    assert curve.summary().split("\n") == [
        "beta soft value       interval mean reward      KL  ess reliable",
        "0.01      1.995 [1.995, 1.995]           2   0.511  1.2     100%",
        "   1      1.709 [1.709, 1.709]       1.803  0.0945 1.71     100%",
        " 100      1.601 [1.601, 1.601]       1.602 1.2e-05    2     100%",
        "",
        "means over 1 prompt; KL in nats; reliable: share of prompts whose interval has",
        "  two sides and is at most 1 nats wide",
    ]


@each_table
def test_the_summary_has_a_line_per_beta_and_the_notes(outcomes):
    curve = tiltz.sweep(outcomes, BETAS)
    lines = curve.summary().split("\n")
    assert lines[len(BETAS) + 1] == ""
    assert [line.split()[0] for line in lines[1 : len(BETAS) + 1]] == ["0.05", "1", "30", "1e+06"]
    assert "reliable" in lines[0]
    told = " ".join(curve.summary().split())
    assert all(" ".join(note.split()) in told for note in curve.estimate.notes)


def test_without_intervals_the_summary_speaks_of_none():
    text = tiltz.sweep(TABLES["draws"], BETAS, interval=None).summary()
    assert "interval" not in text.split("\n")[0]
    assert "reliable" not in text
    assert "nan" not in text


UNITS = [1e-300, 1e-150, 1e-9, 1.0, 12345.678, 1e5, 1e150, 1e300]


@pytest.mark.parametrize("beta", [1e-300, 1e-9, 1.0, 1e300])
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("interval", ["delta", None])
def test_the_summary_fits_at_any_size_of_number(unit, beta, interval):
    rewards = -unit * np.random.default_rng(0).random((3, 5))
    betas = [beta, 12345.678, unit]
    curve = tiltz.sweep(sampled(rewards), betas, level=0.999999, interval=interval)
    assert wide(curve.summary()) <= 80
    assert wide(repr(curve)) <= 80
    assert len(curve.summary().split("\n")[1].split()) >= (4 if interval is None else 7)


@pytest.mark.parametrize("unit", [1e-9, 1e-5, 1.0, 12345.678, 1e5, 1e9])
def test_no_number_of_the_summary_is_cut(unit):
    rewards = -unit * np.random.default_rng(0).random((3, 5))
    text = tiltz.sweep(sampled(rewards), [unit, unit * 1234.5], interval="delta").summary()
    assert "…" not in text


@pytest.mark.parametrize(
    "name",
    ["漢字" * 60, "x" * 500, "red\x1b[31m", "two\nlines", "[bold]x[/]"],
    ids=["wide", "long", "red", "lines", "markup"],
)
def test_a_hostile_sampler_cannot_break_the_summary(name):
    text = tiltz.sweep(sampled([0.0, 1.0], drawn_from=name), BETAS).summary()
    assert wide(text) <= 80
    assert all(line.isprintable() for line in text.split("\n"))


def test_the_repr_is_one_line():
    curve = tiltz.sweep(sampled([[0.0, 0.0], [0.0, 1.0]]), [0.5, 1e6], interval="delta")
    assert repr(curve) == "Sweep(2 prompts x 2 betas, beta 0.5 to 1e+06, 25% of the cells reliable)"
    assert repr(tiltz.sweep(complete([0.0], [1.0]), 0.25)) == (
        "Sweep(1 prompt x 1 beta, beta 0.25 to 0.25, 100% of the cells reliable)"
    )


def test_progress_is_told_up_to_the_end():
    told = []
    tiltz.sweep(sampled(np.zeros((50, 400))), np.geomspace(0.1, 10, 40), progress=told.append)
    assert told[-1] == 1.0
    assert all(0 < share <= 1 for share in told)
    assert told == sorted(told)


# What is refused


@pytest.mark.parametrize("betas", [0.0, -1.0, [1.0, np.nan], [1.0, np.inf], [], [[1.0]], "x", None])
def test_betas_that_are_none_are_refused(betas):
    with pytest.raises(InputError, match="beta must be"):
        tiltz.sweep(TABLES["complete"], betas)


@pytest.mark.parametrize("width", [0.0, -1.0, np.nan, np.inf, "1", None])
def test_widths_that_are_none_are_refused(width):
    with pytest.raises(InputError, match="width must be a positive number of nats"):
        tiltz.sweep(TABLES["complete"], 1.0, width=width)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, np.nan, "0.95", None])
def test_levels_that_are_none_are_refused(level):
    with pytest.raises(InputError, match="level must lie between 0 and 1"):
        tiltz.sweep(TABLES["complete"], 1.0, level=level)


def test_intervals_that_are_unknown_or_do_not_apply_are_refused():
    with pytest.raises(InputError, match="interval must be one of"):
        tiltz.sweep(TABLES["draws"], 1.0, interval="bayes")
    with pytest.raises(InputError, match="clopper-pearson"):
        tiltz.sweep(TABLES["draws"], 1.0, interval="clopper-pearson")


def test_rewards_that_contradict_a_declaration_are_refused():
    with pytest.raises(InputError, match="reward_values"):
        tiltz.sweep(sampled([0, 1, 2]), 1.0, reward_values=(0, 1))
