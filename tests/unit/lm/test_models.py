"""Every kind of model keeps the promises; broken ones do not pass."""

import itertools

import numpy as np
import pytest
from scipy import stats

from tests.unit.lm.worlds import COIN, PROMPTS, SPECS, build, every_completion, probabilities, tiny
from tiltz.errors import InputError
from tiltz.lm import LanguageModel, LocalModel, SamplingSpec, TokenModel, read_table_model, table_model
from tiltz.testbeds import check_language_model


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", ["table", "tiny", "hf"])
def test_every_model_keeps_the_promises(kind, spec, toy):
    model, prompts = build(kind, toy, SPECS[spec])
    assert isinstance(model, LanguageModel)
    assert isinstance(model, TokenModel)
    check_language_model(model, prompts)


class EndTwice(LocalModel):
    def log_prob(self, prompts, completions):
        score = super().log_prob(prompts, completions)
        return score + np.where([c[-1] == self.end_id for c in completions], -0.1, 0.0)


class EndForgotten(LocalModel):
    def sample(self, prompts, n, rng):
        drawn = super().sample(prompts, n, rng)
        for group in drawn:
            for k, c in enumerate(group):
                if c.ended == "end":
                    after = self.next_log_probs(prompts[0], [c.ids[:-1]])[0, self.end_id]
                    group[k] = type(c)(ids=c.ids, text=c.text, log_prob=c.log_prob - after, ended=c.ended)
        return drawn


class Neighbours(LocalModel):
    def log_prob(self, prompts, completions):
        return super().log_prob(prompts, completions) - 0.01 * len(completions)


class Unnormalised(LocalModel):
    def next_log_probs(self, prompt, prefixes):
        return super().next_log_probs(prompt, prefixes) + 0.01


class NeverNothing(LocalModel):
    def log_prob(self, prompts, completions):
        score = super().log_prob(prompts, completions)
        return np.where([tuple(c) == (self.end_id,) for c in completions], -np.inf, score)


@pytest.mark.parametrize("broken", [EndTwice, EndForgotten, Neighbours, Unnormalised, NeverNothing])
def test_broken_promises_are_found(broken, toy):
    sound = tiny(toy, SPECS["plain"])
    with pytest.raises(InputError, match=r"must .*; for the prompt"):
        check_language_model(broken(sound.engine, sound.spec, ref_id={}), PROMPTS)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", ["tiny", "hf"])
def test_all_completions_together_have_probability_one(kind, spec, toy):
    model, prompts = build(kind, toy, SPECS[spec])
    for prompt in prompts[:2]:
        assert sum(probabilities(model, prompt).values()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    "spec", ["plain", "top_p", *(pytest.param(s, marks=pytest.mark.slow) for s in ("tempered", "top_k"))]
)
def test_draws_have_the_probabilities_that_they_say(spec, toy):
    model = tiny(toy, SPECS[spec], batch_size=5000)
    prob = probabilities(model, "a b")
    n = 200_000
    counts = dict.fromkeys(prob, 0)
    for completion in itertools.chain(*model.sample(["a b"], n, np.random.default_rng(1))):
        counts[completion.ids] += 1
    expected, seen = n * np.array(list(prob.values())), np.array(list(counts.values()))
    few = expected < 5
    expected = np.append(expected[~few], expected[few].sum())
    seen = np.append(seen[~few], seen[few].sum())
    used = expected > 0
    assert seen[~used].sum() == 0
    chi_square = float(((seen - expected)[used] ** 2 / expected[used]).sum())
    assert stats.chi2.sf(chi_square, used.sum() - 1) > 1e-6
    # The twin: draws at another temperature would not pass.
    warmer = tiny(toy, SamplingSpec(max_tokens=4, temperature=1.2 * model.spec.temperature), batch_size=5000)
    other = np.array([n * p for p in probabilities(warmer, "a b").values()])
    other = np.append(other[~few], other[few].sum())
    used = other > 0
    assert stats.chi2.sf(float(((seen - other)[used] ** 2 / other[used]).sum()), used.sum() - 1) < 1e-6


def test_the_numpy_engine_is_the_model_of_transformers(toy):
    for spec in SPECS.values():
        ours, theirs = tiny(toy, spec), build("hf", toy, spec)[0]
        outcomes = [c for c in every_completion(ours)[::7]]
        for prompt in PROMPTS:
            pair = [m.log_prob([prompt] * len(outcomes), outcomes) for m in (ours, theirs)]
            assert np.array_equal(np.isinf(pair[0]), np.isinf(pair[1]))
            ours_finite, theirs_finite = (part[np.isfinite(part)] for part in pair)
            assert np.abs(ours_finite - theirs_finite).max() < 1e-4


@pytest.mark.parametrize("kind", ["tiny", "hf"])
def test_other_batches_draw_the_same(kind, toy):
    model, prompts = build(kind, toy, SPECS["plain"])
    streams = lambda: [np.random.default_rng([7, i]) for i in range(len(prompts))]  # noqa: E731
    wanted = model.sample(prompts, 200, streams())
    model.batch_size = 17
    one_by_one = [
        model.sample([prompt], 200, [stream])[0] for prompt, stream in zip(prompts, streams(), strict=True)
    ]
    pairs = list(zip(itertools.chain(*wanted), itertools.chain(*one_by_one), strict=True))
    same = [a.ids == b.ids for a, b in pairs]
    assert np.mean(same) >= 0.99
    assert all(abs(a.log_prob - b.log_prob) < 1e-4 for a, b in pairs if a.ids == b.ids)


def test_ends(toy):
    model = tiny(toy, SPECS["stop"])
    drawn = list(itertools.chain(*model.sample(PROMPTS, 100, np.random.default_rng(0))))
    assert {c.ended for c in drawn} == {"end", "stop", "length"}
    for c in drawn:
        stopped = any(text in c.text for text in model.spec.stop)
        assert (c.ended == "stop") == (stopped and c.ids[-1] != model.end_id)
        assert c.truncated == (c.ended == "length")
        assert len(c.ids) <= 4


def test_texts_are_scored_as_what_they_tokenise_to(toy):
    model = tiny(toy, SPECS["plain"])
    ids = [(4, 5, 2), (4, 5, 6, 7)]
    assert np.array_equal(model.log_prob(["c", "c"], ["a b", "a b c d"]), model.log_prob(["c", "c"], ids))
    assert model.log_prob(["c"], ["a b c d a"]).tolist() == [-np.inf]


def test_logits_that_are_no_numbers_are_refused(toy, monkeypatch):
    model = tiny(toy, SPECS["plain"])
    extend = model.engine.extend

    def overflowing(state, *fed, **options):
        state, logits = extend(state, *fed, **options)
        return state, np.where(np.arange(logits.shape[-1]) == 3, np.inf, logits)

    monkeypatch.setattr(model.engine, "extend", overflowing)
    for use in (
        lambda: model.sample(["a"], 2, np.random.default_rng(0)),
        lambda: model.log_prob(["a"], [(4, 5, 2)]),
    ):
        with pytest.raises(InputError, match="must give finite numbers as logits"), np.errstate(all="ignore"):
            use()


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ((), "at least one"),
        ((4, 99), "tokens from 0 to 7"),
        ((4, 5), "a whole outcome"),
        ("a zebra", "zebra"),
    ],
)
def test_completions_that_are_refused(ids, says, toy):
    with pytest.raises(InputError, match=says):
        tiny(toy, SPECS["plain"]).log_prob(["a"], [ids])


def test_what_is_never_drawn_has_no_probability(toy):
    model = tiny(toy, SPECS["plain"])
    assert model.log_prob(["a"] * 2, [(4, 2, 4, 2), (4, 4, 4, 4, 2)]).tolist() == [-np.inf, -np.inf]


def test_a_table_is_read_from_files(tmp_path):
    lines = [
        f'{{"prompt": "{prompt}", "completion": "{text}", "prob": {p}}}'
        for prompt, table in COIN.items()
        for text, p in table.items()
    ]
    path = tmp_path / "reference.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    model = read_table_model(path)
    assert np.exp(model.log_prob(["toss", "a die"], ["lost it", "one two"])) == pytest.approx([0.1, 0.3])
    assert model.ref_id["model"] == str(path)
    path.write_text(lines[0], encoding="utf-8")
    with pytest.raises(InputError, match=r"sum to 0\.5"):
        read_table_model(path)
    path.write_text('{"prompt": "a", "text": "b"}', encoding="utf-8")
    with pytest.raises(InputError, match="must have the columns"):
        read_table_model(path)


def test_no_prompts_no_completions(toy):
    assert tiny(toy, SPECS["plain"]).sample([], 3, np.random.default_rng(0)) == []


def test_unknown_prompts_and_generators_are_refused(toy):
    with pytest.raises(InputError, match="must list the prompt"):
        table_model(COIN).sample(["roulette"], 1, np.random.default_rng(0))
    with pytest.raises(InputError, match="one for each of the 3 prompts"):
        tiny(toy, SPECS["plain"]).sample(PROMPTS, 1, [np.random.default_rng(0)])


def test_cells_of_a_table_that_are_no_probabilities_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    for cell in ("x", ""):
        path.write_text(f"prompt,completion,prob\nq,a,0.5\nq,b,{cell}\n")
        with pytest.raises(InputError, match=r"row 2 of .* has 'q', 'b' and"):
            read_table_model(path)
