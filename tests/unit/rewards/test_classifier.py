"""A random Llama with one label as a reward: the logit that transformers gives for the text alone."""

import sys

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from tiltz.errors import InputError, MissingExtraError
from tiltz.rewards import evaluate, load, load_classifier

WORDS = ["<pad>", "<bos>", "<end>", "<unk>", "a", "b", "c", "d", "user", "assistant"]
TEMPLATE = "<bos>{% for m in messages %} {{ m['role'] }} {{ m['content'] }} <end>{% endfor %}"
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
PROMPTS = ["a b", "c", "d d a", "a b", "b"]
COMPLETIONS = ["c", "a a a a b", "", "d", "c c"]


def save_tokenizer(folder, template=None, **special):
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    special = {"pad_token": "<pad>", **special}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<end>", unk_token="<unk>", **special
    )
    fast.chat_template = template
    fast.save_pretrained(folder)


def save_llama(folder, kind=LlamaForSequenceClassification, num_labels=1, **config):
    torch.manual_seed(0)
    config = {"pad_token_id": 0, "num_labels": num_labels, "max_position_embeddings": 64, **config}
    words = {"vocab_size": len(WORDS), "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3}
    kind(LlamaConfig(**words, **SIZES, **config)).save_pretrained(folder)


def logit(folder, words, kind=LlamaForSequenceClassification):
    model = kind.from_pretrained(folder).eval()
    ids = [WORDS.index(word) for word in words.split()]
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0, 0].item()


@pytest.mark.parametrize("pads", ["both", "tokenizer", "end", "neither"])
@pytest.mark.parametrize("batch_size", [2, 64])
def test_a_batch_scores_as_each_text_alone(pads, batch_size, tmp_path):
    tokens = {"end": {"pad_token": "<end>"}, "neither": {"pad_token": None}}
    save_tokenizer(tmp_path, **tokens.get(pads, {}))
    save_llama(tmp_path, **({} if pads == "both" else {"pad_token_id": None}))
    reward = load_classifier(str(tmp_path), batch_size=batch_size)
    found = reward(prompts=PROMPTS, completions=COMPLETIONS)
    wanted = [logit(tmp_path, f"<bos> {p} {c}") for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    assert found == pytest.approx(wanted, abs=1e-5)
    assert len({round(r, 4) for r in found}) == 5
    assert reward.reward_range is None
    assert reward.name == f"hf:{tmp_path}"


def test_an_encoder_scores_a_batch_as_each_text_alone(tmp_path):
    save_tokenizer(tmp_path)
    torch.manual_seed(0)
    BertForSequenceClassification(
        BertConfig(
            vocab_size=len(WORDS), num_labels=1, initializer_range=0.3, max_position_embeddings=64, **SIZES
        )
    ).save_pretrained(tmp_path)
    found = load(f"hf:{tmp_path}")(prompts=PROMPTS, completions=COMPLETIONS)
    wanted = [
        logit(tmp_path, f"<bos> {p} {c}", BertForSequenceClassification)
        for p, c in zip(PROMPTS, COMPLETIONS, strict=True)
    ]
    assert found == pytest.approx(wanted, abs=1e-5)


def test_a_chat_template_is_applied_to_what_user_and_assistant_say(tmp_path):
    save_tokenizer(tmp_path, TEMPLATE)
    save_llama(tmp_path)
    reward = load(f"hf:{tmp_path}")
    chat = [{"role": "user", "content": "a b"}]
    answer = [{"role": "assistant", "content": "c"}]
    wanted = logit(tmp_path, "<bos> user a b <end> assistant c <end>")
    for prompt, completion in [("a b", "c"), (chat, "c"), ("a b", answer), (chat, answer)]:
        assert reward(prompts=[prompt], completions=[completion]) == pytest.approx([wanted], abs=1e-5)
    longer = [*chat, *answer, {"role": "user", "content": "d"}]
    wanted = logit(tmp_path, "<bos> user a b <end> assistant c <end> user d <end> assistant a <end>")
    assert reward(prompts=[longer], completions=["a"]) == pytest.approx([wanted], abs=1e-5)


def test_half_precision_files_are_computed_in_single_precision(tmp_path):
    save_tokenizer(tmp_path)
    save_llama(tmp_path)
    LlamaForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float16).save_pretrained(tmp_path)
    assert load_classifier(str(tmp_path)).model.dtype == torch.float32
    assert load_classifier(str(tmp_path), dtype="bfloat16").model.dtype == torch.bfloat16


def test_the_separator_is_what_one_asks_for(tmp_path):
    save_tokenizer(tmp_path)
    save_llama(tmp_path)
    reward = load_classifier(str(tmp_path), separator=" d ")
    assert reward(["a"], ["b"]) == pytest.approx([logit(tmp_path, "<bos> a d b")], abs=1e-5)


def test_a_row_that_is_too_long_or_chat_without_template_is_lost_alone(tmp_path):
    save_tokenizer(tmp_path)
    save_llama(tmp_path, max_position_embeddings=8)
    chat = [{"role": "user", "content": "a"}]
    found = evaluate({"r": load(f"hf:{tmp_path}")}, ["a", "a", chat], ["b", "b " * 7, "b"])
    assert found.errors["r"][0] is None
    errors = list(map(str, found.errors["r"]))
    assert "must have 1 to 8 tokens" in errors[1]
    assert "found 9" in errors[1]
    assert "chat messages need a tokenizer with a chat template" in errors[2]
    assert found.values["r"][0] == pytest.approx(logit(tmp_path, "<bos> a b"), abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        (LlamaForSequenceClassification, {"num_labels": 3}, r"one label \(num_labels = 1\); found 3"),
        (LlamaForCausalLM, {"num_labels": 2}, "one label .*; found 2"),
        (LlamaForCausalLM, {}, "its files lack the weights score.weight"),
    ],
)
def test_a_model_without_one_label_is_refused(kind, config, message, tmp_path):
    save_tokenizer(tmp_path)
    save_llama(tmp_path, kind, **config)
    with pytest.raises(InputError, match=message):
        load(f"hf:{tmp_path}")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be a folder or an identifier of the hub"):
        load(f"hf:{tmp_path}")


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_package_is_named(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"needs the package '{package}'.*tiltz\[hf\]"):
        load("hf:somewhere")
