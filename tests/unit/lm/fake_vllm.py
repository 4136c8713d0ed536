"""A module in the place of vllm: the names of its real types, recorded in tests/data/vllm.json, over a toy model.

A keyword that the real type does not have is an error. What is drawn and reported follows the documentation of vLLM:
processed log-probabilities of the tokens drawn, raw ones of a prompt's tokens, the end token among the ids.
"""

import json
import sys
from pathlib import Path
from threading import Lock
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from tiltz.lm import SamplingSpec
from tiltz.lm.hf import load_transformers

RECORDED = json.loads((Path(__file__).parents[2] / "data" / "vllm.json").read_text(encoding="utf-8"))


def record(kind: str, **values: Any) -> SimpleNamespace:
    unknown = set(values) - set(RECORDED[kind])
    assert not unknown, f"{kind} of vLLM {RECORDED['vllm']} has no {unknown}"
    return SimpleNamespace(**values)


class LLM:
    made: list["LLM"] = []  # noqa: RUF012 - what a test looks at

    def __init__(self, model: str, **options: Any) -> None:
        assert set(options) <= {*RECORDED["LLM"], *RECORDED["EngineArgs"]}
        assert options["logprobs_mode"] in RECORDED["LogprobsMode"]
        self.model, self.options, self.asked = model, options, []
        self.base = load_transformers(model, spec=SamplingSpec())
        config = self.base.engine.model.config
        self.model_config = SimpleNamespace(dtype="torch.float32", get_vocab_size=lambda: config.vocab_size)
        self.turn = Lock()
        LLM.made.append(self)

    def get_tokenizer(self) -> Any:
        return self.base.engine.tokenizer

    def generate(self, prompts: Any, sampling_params: Any, **options: Any) -> list[Any]:
        assert self.turn.acquire(blocking=False), "an engine of vLLM is called by one thread at a time"
        try:
            return self._generate(prompts, sampling_params, options)
        finally:
            self.turn.release()

    def _generate(self, prompts: Any, sampling_params: Any, options: dict[str, Any]) -> list[Any]:
        assert set(options) <= set(RECORDED["LLM.generate"])
        assert all(set(prompt) <= set(RECORDED["TokensPrompt"]) for prompt in prompts)
        assert not sampling_params or len(sampling_params) == len(prompts)
        lora = options.get("lora_request")
        assert lora is None or self.options.get("enable_lora")
        self.asked += sampling_params
        model = self.base
        if lora is not None:
            model = load_transformers(self.model, spec=SamplingSpec(), base=model, adapter=lora.lora_path)
        pairs = zip(prompts, sampling_params, strict=True)
        return [self._request(model, prompt["prompt_token_ids"], params) for prompt, params in pairs]

    def _request(self, model: Any, prompt: list[int], asked: Any) -> Any:
        params = {"n": 1, "seed": None, "logprobs": None, "prompt_logprobs": None, **vars(asked)}
        model.engine = _TakesIds(model.engine)
        raw = SamplingSpec(max_tokens=100)
        scored = None
        if params["prompt_logprobs"] is not None:
            model.spec = raw
            after = model.next_log_probs(prompt[:1], [prompt[1:k] for k in range(1, len(prompt))])
            scored = [None, *(_place(row, token) for row, token in zip(after, prompt[1:], strict=True))]
        names = ("temperature", "top_p", "top_k", "min_p", "max_tokens")
        model.spec = SamplingSpec(**{name: params[name] for name in names}, stop=tuple(params["stop"]))
        outputs = []
        for k in range(params["n"]):
            rng = np.random.default_rng(None if params["seed"] is None else params["seed"] + k)
            (drawn,) = model.sample([prompt], 1, rng)[0]
            after = model.next_log_probs(prompt, [drawn.ids[:j] for j in range(len(drawn.ids))])
            found = [_place(row, token) for row, token in zip(after, drawn.ids, strict=True)]
            outputs.append(
                record(
                    "CompletionOutput",
                    index=k,
                    text=drawn.text,
                    token_ids=list(drawn.ids),
                    cumulative_logprob=drawn.log_prob,
                    logprobs=None if params["logprobs"] is None else found,
                    finish_reason="length" if drawn.ended == "length" else "stop",
                    stop_reason=params["stop"][0] if drawn.ended == "stop" else None,
                )
            )
        model.engine = model.engine.engine
        return record("RequestOutput", outputs=outputs, prompt_logprobs=scored, prompt_token_ids=prompt)


class _TakesIds:
    """An engine whose prompts are tokens already."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def encode_prompt(self, prompt: list[int]) -> list[int]:
        return prompt


def _place(row: Any, token: int) -> dict[int, Any]:
    return {token: record("Logprob", logprob=float(row[token]), rank=1, decoded_token=None)}


def install(monkeypatch: Any) -> type[LLM]:
    """Put the module in the place of vllm for one test."""
    module = ModuleType("vllm")
    module.__version__ = RECORDED["vllm"]  # type: ignore[attr-defined]
    module.LLM = LLM  # type: ignore[attr-defined]
    module.SamplingParams = lambda **values: record("SamplingParams", **values)  # type: ignore[attr-defined]
    request = ModuleType("vllm.lora.request")
    request.LoRARequest = lambda **values: record("LoRARequest", **values)  # type: ignore[attr-defined]
    for name, part in {
        "vllm": module,
        "vllm.lora": ModuleType("vllm.lora"),
        "vllm.lora.request": request,
    }.items():
        monkeypatch.setitem(sys.modules, name, part)
    monkeypatch.setattr(LLM, "made", [])
    return LLM
