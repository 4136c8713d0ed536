"""Models run by vLLM: what is asked of it, and that what it reports is read right; over its recorded types."""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError

import numpy as np
import pytest

from tests.unit.lm import fake_vllm
from tests.unit.lm.worlds import PROMPTS, SPECS, build
from tiltz import lm
from tiltz.errors import InputError, MissingExtraError
from tiltz.lm import SamplingSpec
from tiltz.testbeds import check_language_model


@pytest.fixture
def vllm(monkeypatch):
    return fake_vllm.install(monkeypatch)


@pytest.mark.parametrize("spec", ["plain", "stop"])
def test_it_keeps_the_promises(spec, toy, vllm):
    model = lm.load(f"vllm:{toy}", spec=SPECS[spec])
    assert isinstance(model, lm.LanguageModel)
    check_language_model(model, PROMPTS, n=8)


@pytest.mark.parametrize("spec", SPECS)
def test_draws_have_the_log_probabilities_of_the_spec(spec, toy, vllm):
    model, exact = lm.load(f"vllm:{toy}", spec=SPECS[spec]), build("hf", toy, SPECS[spec])[0]
    drawn = model.sample(PROMPTS, 12, np.random.default_rng(0))
    pairs = [(prompt, c) for prompt, group in zip(PROMPTS, drawn, strict=True) for c in group]
    wanted = exact.log_prob([prompt for prompt, _ in pairs], [c.ids for _, c in pairs])
    assert np.abs(wanted - [c.log_prob for _, c in pairs]).max() < 1e-4
    for _, c in pairs:
        assert c.text == exact.decode(c.ids)
        assert c.ids.count(model.end_id) == (c.ended == "end")
        assert c.truncated == (len(c.ids) == 4 and c.ids[-1] != model.end_id and c.ended != "stop")
    assert {c.ended for _, c in pairs} == {"end", "length", *(["stop"] if spec == "stop" else [])}


def test_everything_that_changes_the_distribution_is_asked_for(toy, vllm):
    spec = SamplingSpec(temperature=0.7, top_k=5, top_p=0.9, max_tokens=3, stop=("d",))
    model = lm.load(f"vllm:{toy}", spec=spec, max_model_len=64)
    model.sample(["a", "b"], 3, np.random.default_rng(0))
    (llm,) = vllm.made
    assert llm.options == {
        "revision": None, "tokenizer_revision": None, "dtype": "auto", "max_model_len": 64,
        "logprobs_mode": "processed_logprobs", "generation_config": "vllm",
    }  # fmt: skip
    asked = [vars(params) for params in llm.asked]
    seeds = [params.pop("seed") for params in asked]
    assert len(set(seeds)) == 2
    assert asked[0] == asked[1] == {
        "n": 3, "logprobs": 0, "temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.0, "max_tokens": 3,
        "stop": ["d"], "detokenize": True, "include_stop_str_in_output": True, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "repetition_penalty": 1.0, "min_tokens": 0, "ignore_eos": False,
    }  # fmt: skip
    again = lm.load(f"vllm:{toy}", spec=spec)
    streams = [np.random.default_rng([1, i]) for i in range(2)], [np.random.default_rng([1, 1])]
    assert again.sample(["a", "b"], 3, streams[0])[1] == again.sample(["b"], 3, streams[1])[0]


def test_scores_are_those_of_transformers(toy, vllm):
    model, exact = lm.load(f"vllm:{toy}", spec=SPECS["plain"]), build("hf", toy, SPECS["plain"])[0]
    some = [(4, 5, 2), (2,), (4, 5, 6, 7), (4, 2, 4, 2), "a b"]
    pair = [m.log_prob(["a b"] * 5, some) for m in (model, exact)]
    assert pair[0][3] == pair[1][3] == -np.inf
    ours, theirs = (np.delete(scores, 3) for scores in pair)
    assert np.abs(ours - theirs).max() < 1e-4
    assert model.log_prob([], []).shape == (0,)
    with pytest.raises(InputError, match="a whole outcome"):
        model.log_prob(["a"], [(4, 5)])


def test_what_goes_on_after_a_stop_string_is_never_drawn(toy, vllm):
    model, exact = lm.load(f"vllm:{toy}", spec=SPECS["stop"]), build("hf", toy, SPECS["stop"])[0]
    (stop,) = exact.encode("d")
    some = [(4, stop), (4, stop, 2), (stop, 4, stop)]
    found, wanted = (m.log_prob(["a"] * 3, some) for m in (model, exact))
    assert found[0] == pytest.approx(wanted[0], abs=1e-4)
    assert list(found[1:]) == [-np.inf, -np.inf]


def test_threads_take_turns_with_an_engine(toy, vllm, monkeypatch):
    first = lm.load(f"vllm:{toy}", spec=SPECS["plain"])
    second = lm.load(f"vllm:{toy}", spec=SPECS["plain"], base=first)
    real, both, met = vllm.generate, Barrier(2), []

    def generate(*given, **options):
        try:
            met.append(both.wait(timeout=0.3))
        except BrokenBarrierError:
            return real(*given, **options)

    monkeypatch.setattr(vllm, "generate", generate)
    with ThreadPoolExecutor(2) as pool:
        scores = [pool.submit(model.log_prob, ["a"], [(4, 2)]) for model in (first, second)]
    assert met == []
    assert scores[0].result() == scores[1].result()


@pytest.mark.parametrize("spec", ["tempered", "top_k", "top_p", "min_p"])
def test_what_it_cannot_score_is_said(spec, toy, vllm):
    model = lm.load(f"vllm:{toy}", spec=SPECS[spec])
    with pytest.raises(InputError, match=r"temperature 1 without truncation only.*hf:"):
        model.log_prob(["a"], [(4, 2)])


def test_adapters_share_an_engine(toy, vllm, tmp_path):
    import peft
    import torch
    import transformers

    adapted = peft.inject_adapter_in_model
    base = transformers.AutoModelForCausalLM.from_pretrained(toy)
    settings = peft.LoraConfig(r=3, target_modules=["q_proj"])
    model = adapted(settings, base)
    torch.manual_seed(0)
    for name, value in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(value, std=0.5)
    stored = {f"base_model.model.{key}": v for key, v in peft.get_peft_model_state_dict(model).items()}
    from safetensors.torch import save_file

    save_file(stored, tmp_path / "adapter_model.safetensors")
    settings.save_pretrained(tmp_path)
    policy = lm.load(f"vllm:{toy}", spec=SPECS["plain"], adapter=str(tmp_path))
    reference = lm.load(f"vllm:{toy}", spec=SPECS["plain"], base=policy)
    assert len(vllm.made) == 1
    assert vllm.made[0].options["max_lora_rank"] == 8
    exact = lm.load(f"hf:{toy}", spec=SPECS["plain"], adapter=str(tmp_path))
    ids = [(4, 5, 2), (6, 6, 7, 2)]
    for ours, theirs in (
        (policy, exact),
        (reference, lm.load(f"hf:{toy}", spec=SPECS["plain"])),
        (policy, exact),
    ):
        assert np.abs(ours.log_prob(["a"] * 2, ids) - theirs.log_prob(["a"] * 2, ids)).max() < 1e-4
    assert policy.ref_id["adapter_weights"] == exact.ref_id["adapter_weights"]
    assert "adapter_weights" not in reference.ref_id


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"finish_reason": "abort"}, "vLLM ended one"),
        ({"finish_reason": "length", "token_ids": [4], "logprobs": [{4: fake_vllm.record("Logprob", logprob=-1.0)}]},
         "max_model_len"),
        ({"logprobs": None}, "found none"),
        ({"logprobs": []}, "found 0"),
    ],
)  # fmt: skip
def test_answers_that_say_less_are_refused(change, says, toy, vllm, monkeypatch):
    model, real = lm.load(f"vllm:{toy}", spec=SPECS["plain"]), vllm._request

    def changed(*given):
        found = real(*given)
        vars(found.outputs[0]).update(change)
        return found

    monkeypatch.setattr(vllm, "_request", changed)
    with pytest.raises(InputError, match=says):
        model.sample(["a"], 1, np.random.default_rng(0))


def test_arguments_that_are_refused(toy, vllm):
    for options, says in (
        ({"spec": SamplingSpec(temperature=3)}, r"from 0\.01 to 2\.0"),
        ({"spec": SamplingSpec(min_p=0.1, top_p=0.9)}, "min_p before top_p"),
        ({"logprobs_mode": "raw_logprobs"}, "leave out logprobs_mode"),
    ):
        with pytest.raises(InputError, match=says):
            lm.load(f"vllm:{toy}", **options)


def test_without_vllm_what_to_install_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingExtraError, match=r"tiltz\[vllm\]"):
        lm.load("vllm:anything")
