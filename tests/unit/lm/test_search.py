"""Search and closed answer sets, against the enumeration of every completion."""

import math

import numpy as np
import pytest
from scipy import stats

import tiltz
from tests.unit.lm.worlds import COIN, SPECS, probabilities, tiny
from tiltz.errors import InputError
from tiltz.lm import Search, score_answers, table_model


def reward(texts):
    return [text.count("a") - 0.5 * text.count("b") for text in texts]


RANGE = (-2.0, 4.0)
BETAS = [0.2, 1.0, 20.0]


def truth(model, prompt):
    prob = probabilities(model, prompt)
    rewards = np.array(reward([model.decode(ids) for ids in prob]))
    return np.array([np.log(np.sum(np.array(list(prob.values())) * np.exp(rewards / b))) for b in BETAS])


@pytest.mark.parametrize("spec", ["plain", "tempered", "top_p"])
def test_the_certified_bounds_hold_at_every_step_and_meet(spec, toy):
    model = tiny(toy, SPECS[spec])
    search = Search(model=model, prompt="a b", batch_size=40)
    wanted, widths, found = truth(model, "a b"), [], None
    while not search.finished:
        search.step()
        if search.found:
            found = tiltz.estimate(search.outcomes(reward, reward_range=RANGE), BETAS)
            assert np.all(found.lo[0] <= wanted + 1e-5)
            assert np.all(wanted <= found.hi[0] + 1e-5)
            widths.append(found.hi[0] - found.lo[0])
    assert np.all(np.diff(widths, axis=0) <= 1e-9)
    assert found is not None
    assert found.kind.tolist() == [["exact"] * 3]
    assert found.log_z[0] == pytest.approx(wanted, abs=1e-5)
    assert len(search.found) == sum(p > 0 for p in probabilities(model, "a b").values())


def test_the_mass_that_is_missing_is_that_of_what_was_not_found(toy):
    model = tiny(toy, SPECS["plain"])
    search = Search(model=model, prompt="c", batch_size=8)
    prob = probabilities(model, "c")
    for _ in range(30):
        search.step()
        listed = {c.ids for c in search.found}
        assert search.missing == pytest.approx(
            sum(p for ids, p in prob.items() if ids not in listed), abs=1e-6
        )
        assert all(c.log_prob == pytest.approx(math.log(prob[c.ids]), abs=1e-4) for c in search.found)


@pytest.mark.parametrize("steps", [0, 1, 12])
def test_draws_from_the_rest_have_its_distribution(steps, toy):
    model = tiny(toy, SPECS["plain"], batch_size=4000)
    search = Search(model=model, prompt="c", batch_size=8).run(max_steps=steps)
    listed = {c.ids for c in search.found}
    left = {ids: p for ids, p in probabilities(model, "c").items() if ids not in listed}
    n = 40_000
    counts = dict.fromkeys(left, 0)
    for completion in search.draw(n, np.random.default_rng(3)):
        counts[completion.ids] += 1
    expected = n * np.array(list(left.values())) / sum(left.values())
    seen = np.array(list(counts.values()))
    few = expected < 5
    expected, seen = (np.append(part[~few], part[few].sum()) for part in (expected, seen))
    assert stats.chi2.sf(float(((seen - expected) ** 2 / expected).sum()), len(seen) - 1) > 1e-6


def test_draws_from_the_rest_complete_the_estimate(toy):
    model = tiny(toy, SPECS["plain"])
    search = Search(model=model, prompt="a b", batch_size=16).run(missing=0.3)
    draws = search.draw(400, np.random.default_rng(5))
    table = search.outcomes(reward, reward_range=RANGE, draws=draws, label="a b")
    found = tiltz.estimate(table, BETAS)
    alone = tiltz.estimate(search.outcomes(reward, reward_range=RANGE), BETAS)
    wanted = truth(model, "a b")
    assert np.all((found.lo[0] <= wanted) & (wanted <= found.hi[0]))
    assert np.all(found.hi - found.lo < alone.hi - alone.lo)
    assert found.prompt.tolist() == ["a b"]


def test_draws_from_before_a_step_are_refused(toy):
    search = Search(model=tiny(toy, SPECS["plain"]), prompt="a b", batch_size=16).run(missing=0.5)
    draws = search.draw(400, np.random.default_rng(5))
    search.run(missing=0.2)
    with pytest.raises(InputError, match="have been found since"):
        search.outcomes(reward, reward_range=RANGE, draws=draws)


def test_budgets_stop_a_search(toy):
    model = tiny(toy, SPECS["plain"])
    assert Search(model=model, prompt="c").run(max_steps=2).n_tokens < 100
    assert Search(model=model, prompt="c", batch_size=4).run(max_tokens=50).n_tokens < 70
    assert Search(model=model, prompt="c", batch_size=4).run(missing=0.5).missing <= 0.5
    with pytest.raises(InputError, match="something left"):
        Search(model=table_model(COIN), prompt="toss").run().draw(1, np.random.default_rng(0))
    with pytest.raises(InputError, match="take more steps"):
        Search(model=model, prompt="c").outcomes(reward, reward_range=RANGE)


@pytest.mark.parametrize("spec", ["plain", "tempered", "top_k"])
def test_answers_have_their_exact_mass(spec, toy):
    model = tiny(toy, SPECS[spec])
    answers = ["a", "a b", "b a c", "c d d d", "d"]
    known = score_answers(model, ["a b", "c"], answers)
    for i, prompt in enumerate(known.prompts):
        prob = probabilities(model, prompt)
        whole = [tuple(model.encode(text)) for text in answers]
        whole = [ids if len(ids) == 4 else (*ids, model.end_id) for ids in whole]
        assert np.exp(known.log_ref[i]) == pytest.approx([prob[ids] for ids in whole], abs=1e-6)
        assert np.exp(known.log_other[i]) == pytest.approx(1 - sum(prob[ids] for ids in whole), abs=1e-6)
    rewards = [reward(answers)] * 2
    given = tiltz.estimate(known.given(rewards), BETAS)
    for i in range(2):
        p = np.exp(known.log_ref[i])
        weights = np.exp(np.divide.outer(reward(answers), BETAS))
        assert given.log_z[i] == pytest.approx(np.log(p @ weights / p.sum()), abs=1e-9)
    certified = tiltz.estimate(known.outcomes(rewards, reward_range=RANGE), BETAS)
    for i, prompt in enumerate(known.prompts):
        assert np.all((certified.lo[i] <= truth(model, prompt)) & (truth(model, prompt) <= certified.hi[i]))


def test_small_rests_keep_their_digits():
    rest = 1e-12
    model = table_model({"q": {"yes": 0.6 - rest, "no": 0.4, "who knows": rest}})
    known = score_answers(model, ["q"], {"q": ["yes", "no"]})
    assert math.exp(known.log_other[0]) == pytest.approx(rest, rel=1e-9)


@pytest.mark.parametrize(
    ("answers", "says"),
    [([], "at least one"), (["a", "a"], "different"), (["a b c d", "a b c d a"], "drawn whole")],
)
def test_answers_that_are_refused(answers, says, toy):
    with pytest.raises(InputError, match=says):
        score_answers(tiny(toy, SPECS["plain"]), ["a"], answers)


def test_rewards_must_fit_the_answers():
    known = score_answers(table_model(COIN), ["toss"], ["heads", "tails"])
    with pytest.raises(InputError, match="a reward for every answer"):
        known.given([[1.0]])


@pytest.mark.parametrize("head", [2, 3])
def test_the_rare_continuations_are_asked_for_again_when_their_turn_comes(head, toy, monkeypatch):
    model = tiny(toy, SPECS["stop"])
    whole = Search(model=model, prompt="c").run()
    wanted = {c.ids: c.log_prob for c in whole.found}
    monkeypatch.setattr("tiltz.lm.search._HEAD", head)
    search = Search(model=model, prompt="c", batch_size=3).run(missing=0.5)
    assert sum(math.exp(c.log_prob) for c in search.found) + search.missing == pytest.approx(1, abs=1e-6)
    found = {c.ids for c in search.found}
    left = {ids: math.exp(log_prob) for ids, log_prob in wanted.items() if ids not in found}
    drawn = [c.ids for c in search.draw(4000, np.random.default_rng(1))]
    assert set(drawn) <= set(left)
    often = [ids for ids, p in left.items() if 4000 * p / sum(left.values()) >= 5]
    prob = np.array([left[ids] for ids in often]) / sum(left.values())
    counts = np.array([drawn.count(ids) for ids in often])
    expected = 4000 * np.append(prob, 1 - prob.sum())
    assert stats.chisquare(np.append(counts, 4000 - counts.sum()), expected).pvalue > 1e-6
    search.run()
    assert search.finished
    assert {c.ids for c in search.found} == set(wanted)
    assert [c.log_prob for c in search.found] == pytest.approx(
        [wanted[c.ids] for c in search.found], abs=1e-5
    )


def test_a_large_vocabulary_is_not_kept_with_every_prefix():
    words = [f"w{i}" for i in range(20_000)]
    model = table_model({"q": {f"{word} end": 1 / len(words) for word in words}})
    search = Search(model=model, prompt="q").run(max_steps=2)
    assert sum(len(branch.token) for branch in search._branches) < 1_000
    assert search.missing == pytest.approx(1, abs=1e-9)


def test_an_answer_that_ends_with_a_stop_string_has_the_mass_of_its_draws(toy):
    model = tiny(toy, SPECS["stop"])
    known = score_answers(model, ["a"], ["a d", "b", ""])
    prob = {c.ids: math.exp(c.log_prob) for c in Search(model=model, prompt="a").run().found}
    wanted = [prob[4, 7], prob[5, 2], prob[2,]]
    assert np.exp(known.log_ref[0]) == pytest.approx(wanted, abs=1e-6)
    assert math.exp(known.log_other[0]) == pytest.approx(1 - sum(wanted), abs=1e-6)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (["a d a"], "goes on after one of the stop strings"),
        (["a a a a a"], r"goes on after max_tokens \(4\)"),
        ("a", "a list of texts"),
        ({"b": ["a"]}, "a list for every prompt"),
    ],
)
def test_answers_that_cannot_be_drawn_whole(answers, says, toy):
    with pytest.raises(InputError, match=says):
        score_answers(tiny(toy, SPECS["stop"]), ["a"], answers)
