"""Models of transformers: adapters over shared weights, devices and sizes, large vocabularies, retokenised text."""

import shutil
import threading

import numpy as np
import pytest

from tests.unit.lm.worlds import PROMPTS, SPECS, every_completion, tiny
from tiltz import lm
from tiltz.errors import FileError, InputError, MissingExtraError
from tiltz.lm import LocalModel, SamplingSpec
from tiltz.lm.following import Following
from tiltz.testbeds import check_language_model

SPEC = SPECS["plain"]
# Of peft, when it wraps a model; loading an adapter does not warn.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def adapters(toy, tmp_path_factory):
    """Two adapters with random weights, none zero, and their bases with them merged in."""
    import peft
    import torch
    import transformers

    folders = []
    for seed in (1, 2):
        base = transformers.AutoModelForCausalLM.from_pretrained(toy)
        config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", "down_proj"])
        model = peft.get_peft_model(base, config)
        torch.manual_seed(seed)
        for name, value in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(value, std=0.3)
        adapter, merged = (tmp_path_factory.mktemp(name) for name in ("adapter", "merged"))
        model.save_pretrained(adapter)
        model.merge_and_unload().save_pretrained(merged)
        transformers.AutoTokenizer.from_pretrained(toy).save_pretrained(merged)
        folders.append((str(adapter), str(merged)))
    return folders


def scores(model):
    outcomes = every_completion(model)[::5]
    return np.concatenate([model.log_prob([prompt] * len(outcomes), outcomes) for prompt in PROMPTS])


def test_policies_and_reference_share_one_base(toy, adapters):
    (first, first_merged), (second, second_merged) = adapters
    policy = lm.load(f"hf:{toy}", spec=SPEC, adapter=first)
    reference = lm.load(f"hf:{toy}", spec=SPEC, base=policy)
    other = lm.load(f"hf:{toy}", spec=SPEC, base=reference, adapter=second)
    models = {"policy": policy, "reference": reference, "other": other}
    wanted = {
        "policy": scores(lm.load(f"hf:{first_merged}", spec=SPEC)),
        "reference": scores(lm.load(f"hf:{toy}", spec=SPEC)),
        "other": scores(lm.load(f"hf:{second_merged}", spec=SPEC)),
    }
    assert all(
        np.abs(wanted[a] - wanted[b]).max() > 0.1 for a, b in (("policy", "reference"), ("policy", "other"))
    )
    for name in ("policy", "reference", "other", "reference", "policy", "policy", "other"):
        assert np.abs(scores(models[name]) - wanted[name]).max() < 1e-4
    assert np.abs(scores(reference) - wanted["reference"]).max() < 1e-5
    assert policy.engine.model is reference.engine.model is other.engine.model
    drawn = {name: model.sample(PROMPTS, 20, np.random.default_rng(0)) for name, model in models.items()}
    for name, model in models.items():
        pairs = [(p, c) for p, group in zip(PROMPTS, drawn[name], strict=True) for c in group]
        again = model.log_prob([p for p, _ in pairs], [c for _, c in pairs])
        assert np.abs(again - [c.log_prob for _, c in pairs]).max() < 1e-4


def test_an_adapter_leaves_the_weights_of_the_base_where_they_are(toy, adapters):
    model = lm.load(f"hf:{toy}", spec=SPEC)
    places = {value.data_ptr() for value in model.engine.model.parameters()}
    lm.load(f"hf:{toy}", spec=SPEC, base=model, adapter=adapters[0][0])
    now = {name: value.data_ptr() for name, value in model.engine.model.named_parameters()}
    assert {place for name, place in now.items() if "lora_" not in name} == places
    check_language_model(model, PROMPTS)


def test_threads_take_turns(toy, adapters):
    policy = lm.load(f"hf:{toy}", spec=SPEC, adapter=adapters[0][0])
    reference = lm.load(f"hf:{toy}", spec=SPEC, base=policy)
    wanted = [scores(policy), scores(reference)]
    off = []

    def work(model, known):
        off.extend(float(np.abs(scores(model) - known).max()) for _ in range(5))

    pairs = zip((policy, reference), wanted, strict=True)
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(off) == 10
    assert max(off) < 1e-5


def test_what_a_model_is_names_weights_and_adapter(toy, adapters):
    policy = lm.load(f"hf:{toy}", spec=SPEC, adapter=adapters[0][0])
    reference = lm.load(f"hf:{toy}", spec=SPEC, base=policy)
    other = lm.load(f"hf:{toy}", spec=SPEC, base=policy, adapter=adapters[1][0])
    assert (
        policy.ref_id["weights"]
        == reference.ref_id["weights"]
        != lm.load(f"hf:{adapters[0][1]}").ref_id["weights"]
    )
    assert policy.ref_id["adapter_weights"] != other.ref_id["adapter_weights"]
    assert reference.ref_id["adapter"] is None
    assert "adapter_weights" not in reference.ref_id


def test_adapters_that_do_not_fit_change_nothing(toy, adapters, tmp_path):
    import peft
    import transformers

    model = lm.load(f"hf:{toy}", spec=SPEC)
    before = scores(model)
    small = transformers.LlamaConfig(
        vocab_size=8, hidden_size=16, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    for name, targets in (("sizes", ["q_proj"]), ("modules", ["o_proj"])):
        base = transformers.LlamaForCausalLM(small)
        peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=targets)).save_pretrained(
            tmp_path / name
        )
    settings = tmp_path / "modules" / "adapter_config.json"
    settings.write_text(settings.read_text(encoding="utf-8").replace("o_proj", "c_attn"), encoding="utf-8")
    for name in ("sizes", "modules"):
        with pytest.raises(InputError, match="does not fit"):
            lm.load(f"hf:{toy}", spec=SPEC, base=model, adapter=str(tmp_path / name))
        assert np.abs(scores(model) - before).max() < 1e-5
    with pytest.raises(FileError, match=r"must hold adapter_config\.json"):
        lm.load(f"hf:{toy}", spec=SPEC, base=model, adapter=str(toy))
    settings.write_text('{"peft_type": "LORA", "bias": "all"}', encoding="utf-8")
    with pytest.raises(InputError, match="has bias = 'all'"):
        lm.load(f"hf:{toy}", spec=SPEC, base=model, adapter=str(tmp_path / "modules"))
    policy = lm.load(f"hf:{toy}", spec=SPEC, base=model, adapter=adapters[0][0])
    assert np.abs(scores(policy) - before).max() > 0.1


def test_bases_that_are_refused(toy, adapters):
    model = lm.load(f"hf:{toy}", spec=SPEC)
    for options, says in (
        ({"base": tiny(toy, SPEC)}, "a model of transformers"),
        ({"dtype": "bfloat16"}, "its dtype"),
    ):
        with pytest.raises(InputError, match=says):
            lm.load(f"hf:{toy}", spec=SPEC, **{"base": model, **options})
    with pytest.raises(InputError, match="its model"):
        lm.load(f"hf:{adapters[0][1]}", spec=SPEC, base=model)


def test_without_peft_an_adapter_says_what_to_install(toy, adapters, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"'peft'.*tiltz\[hf\]"):
        lm.load(f"hf:{toy}", spec=SPEC, adapter=adapters[0][0])


def test_scores_do_not_depend_on_how_many_logits_are_held(toy, monkeypatch):
    for model in (tiny(toy, SPEC), lm.load(f"hf:{toy}", spec=SPEC)):
        outcomes = every_completion(model)[::3]
        prefixes = [(), (4,), (4, 5, 6), (5, 5)]
        wanted = model.log_prob(["a b"] * len(outcomes), outcomes), model.next_log_probs("a b", prefixes)
        with monkeypatch.context() as few:
            few.setattr("tiltz.lm.local._MOST_LOGITS", 1)
            found = model.log_prob(["a b"] * len(outcomes), outcomes), model.next_log_probs("a b", prefixes)
        assert all(np.abs(a - b).max() < 1e-5 for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    "spec", [SamplingSpec(), SamplingSpec(temperature=0.5, top_k=300, top_p=0.9, min_p=1e-4)]
)
def test_numpy_and_torch_draw_and_score_alike_over_a_large_vocabulary(spec):
    import torch

    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (40, 1000)).astype(np.float32)
    logits[:, 700:] = -np.inf
    uniform = np.append(rng.random(38), [0.0, np.nextafter(1, 0)])
    exact = spec.log_probs(logits.astype(np.float64))
    upto = np.cumsum(np.exp(exact), axis=1)
    for values in (logits, torch.as_tensor(logits)):
        after = Following.of(values, spec)
        token, log_prob = after.draw(uniform)
        rows = np.arange(40)
        with np.errstate(invalid="ignore"):
            assert np.nanmax(np.abs(after.log_probs() - exact)) < 1e-12
        assert np.abs(log_prob - exact[rows, token]).max() < 1e-6
        assert np.all(upto[rows, token] >= uniform - 1e-6)
        assert np.all(upto[rows, token] - np.exp(exact[rows, token]) <= uniform + 1e-6)


def test_text_that_tokenises_to_other_tokens_is_flagged(toy):
    model = lm.load(f"hf:{toy}", spec=SPEC)
    drawn = model.sample(["a b"], 200, np.random.default_rng(0))[0]
    # Special tokens have no text here, so ids that hold one are not found again.
    lost = [any(token in (0, 1, 3) for token in c.ids) for c in drawn]
    assert 0 < sum(lost) < 200
    assert lm.retokenized(model, drawn).tolist() == lost
    assert lm.retokenized(model, [c.ids for c in drawn]).tolist() == lost
    assert lm.retokenized(model, ["a b"]).tolist() == [True]


def test_local_models_are_what_is_loaded(toy):
    assert isinstance(lm.load(f"hf:{toy}"), LocalModel)


def test_the_chat_template_belongs_to_the_reference(toy):
    plain = lm.load(f"hf:{toy}", spec=SPEC)
    template = "{{ bos_token }} {{ messages[0].content }}"
    model = lm.load(f"hf:{toy}", spec=SPEC, base=plain, chat_template=template)
    chat = [{"role": "user", "content": PROMPTS[0]}]
    outcomes = every_completion(model)[::7]
    assert model.ref_id["chat_template"] == template
    assert np.allclose(
        model.log_prob([chat] * len(outcomes), outcomes),
        plain.log_prob([PROMPTS[0]] * len(outcomes), outcomes),
    )
    with pytest.raises(InputError, match="need a tokenizer with a chat template"):
        plain.log_prob([chat], outcomes[:1])


@pytest.fixture(scope="module")
def windowed(toy, tmp_path_factory):
    """A random Mistral that sees the last three tokens only, and a GPT-2 of nine positions."""
    import torch
    from transformers import (
        AutoTokenizer,
        GPT2Config,
        GPT2LMHeadModel,
        MistralConfig,
        MistralForCausalLM,
    )

    torch.manual_seed(3)
    mistral = MistralConfig(
        vocab_size=8, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=3, bos_token_id=1, eos_token_id=2, initializer_range=0.5,
    )  # fmt: skip
    gpt2 = GPT2Config(
        vocab_size=8, n_positions=9, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2
    )
    folders = {}
    for name, model in {"mistral": MistralForCausalLM(mistral), "gpt2": GPT2LMHeadModel(gpt2)}.items():
        folders[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(folders[name])
        AutoTokenizer.from_pretrained(toy).save_pretrained(folders[name])
    return folders


def test_a_window_counts_tokens_not_places(windowed):
    # Prefixes of different lengths are fed side by side; what fills the shorter ones up must not push tokens out.
    model = lm.load(f"hf:{windowed['mistral']}", spec=SamplingSpec(max_tokens=12))
    check_language_model(model, PROMPTS)
    prefixes = [[4, 5, 6, 7, 4, 5][:k] for k in (0, 1, 3, 6)] * 4
    drawn = model.complete("a b", prefixes, np.random.default_rng(0))
    scores = [model.log_prob(["a b"], [c.ids])[0] for c in drawn]
    assert [c.log_prob for c in drawn] == pytest.approx(scores, abs=1e-4)


def test_a_prompt_must_leave_room_for_its_longest_completion(windowed):
    name = f"hf:{windowed['gpt2']}"
    rng = np.random.default_rng(0)
    # <bos> and four words; the last token of a completion is not fed.
    model = lm.load(name, spec=SamplingSpec(max_tokens=5))
    assert len(model.sample(["a b c d"], 2, rng)[0]) == 2
    with pytest.raises(InputError, match=r"'a b c d a' has 6.*set max_tokens to 4 or less"):
        model.sample(["a", "a b c d a"], 2, rng)
    with pytest.raises(InputError, match="at most 9 tokens for this model; 'd d d d d d d d d' has 10"):
        model.sample(["d d d d d d d d d"], 2, rng)
    with pytest.raises(InputError, match="at most 9 tokens, the positions"):
        model.log_prob(["a b c d a a a"], [[4, 4, 4, 2]])


def test_other_settings_are_another_reference(toy, tmp_path):
    shutil.copytree(toy, tmp_path / "copy")
    before = lm.load(f"hf:{tmp_path / 'copy'}").ref_id
    path = tmp_path / "copy" / "tokenizer.json"
    path.write_text(path.read_text().replace('"WhitespaceSplit"', '"Whitespace"'))
    after = lm.load(f"hf:{tmp_path / 'copy'}").ref_id
    assert before["weights"] == after["weights"]
    assert before["settings"] != after["settings"]


def test_what_is_no_model_is_refused(toy, tmp_path):
    with pytest.raises(InputError, match="must be followed by a folder that holds a causal model"):
        lm.load(f"hf:{tmp_path}")
    with pytest.raises(InputError, match="dtype must be"):
        lm.load(f"hf:{toy}", dtype="float31")


def test_what_goes_on_after_a_stop_string_is_never_drawn(toy):
    model = lm.load(f"hf:{toy}", spec=SPECS["stop"])  # "b c" and "d"
    scores = model.log_prob(["a"] * 4, [[4, 7], [4, 7, 4, 2], [5, 6], "b c a"])
    assert np.isfinite(scores).tolist() == [True, False, True, False]
