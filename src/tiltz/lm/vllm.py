"""Models run by vLLM in this process: it draws, and reports the log-probabilities of what it drew from."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError, MissingExtraError
from tiltz.lm.adapters import identity_of, settings_of
from tiltz.lm.calls import check_pairs, streams_of
from tiltz.lm.protocol import Completion, Prompt, Streams
from tiltz.lm.served.vllm import check_spec
from tiltz.lm.spec import SamplingSpec
from tiltz.lm.tokenizer import Tokenizer, tokenizer_of
from tiltz.lm.whole import can_be_drawn, outcome_of

Floats = npt.NDArray[np.float64]

_SEEDS = 2**62  # vLLM adds the number of the completion


class VllmModel:
    """A language model over an engine of vLLM; see :class:`tiltz.lm.LanguageModel` for its laws.

    Parameters
    ----------
    llm : vllm.LLM
        Made with ``logprobs_mode="processed_logprobs"`` and ``generation_config="vllm"``.
    tokenizer : Tokenizer
        Of the model.
    spec : SamplingSpec
        What is drawn from.
    ref_id : dict
        What the model is.
    adapter : vllm.lora.request.LoRARequest, optional
        What is put on the weights in every call.
    turn : threading.Lock, optional
        Of the engine, which one thread at a time may call; models that share an engine share it.

    Notes
    -----
    A model may be called from several threads: they take turns.
    Every prompt has a seed from its own random stream; vLLM repeats draws as far as its arithmetic does not depend on
    the batch. It scores given tokens at temperature 1 without truncation only, and so does ``log_prob``.
    """

    def __init__(
        self,
        llm: Any,
        tokenizer: Tokenizer,
        spec: SamplingSpec,
        *,
        ref_id: dict[str, Any],
        adapter: Any = None,
        turn: Lock | None = None,
    ) -> None:
        check_spec(spec)
        self.llm, self.tokenizer, self.spec, self.adapter = llm, tokenizer, spec, adapter
        self.turn = turn or Lock()
        self.ref_id = {**ref_id, **spec.to_dict()}

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return int(self.llm.model_config.get_vocab_size())

    @property
    def end_id(self) -> int:
        """The end token."""
        return self.tokenizer.end_id

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a completion's text, without the end token."""
        return self.tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without the end token."""
        return self.tokenizer.decode([i for i in ids if i != self.end_id])

    def sample(self, prompts: Sequence[Prompt], n: int, rng: Streams) -> list[list[Completion]]:
        """Draw completions.

        Parameters
        ----------
        prompts : sequence
            Texts or chat messages.
        n : int
            Completions of each.
        rng : numpy.random.Generator, or one for each prompt
            Gives every prompt its seed.

        Returns
        -------
        list of list of Completion
            ``n`` for each prompt.
        """
        seeds = [int(stream.integers(_SEEDS)) for stream in streams_of(rng, prompts)]
        asked = [self._asked(n=n, seed=seed, logprobs=0) for seed in seeds]
        drawn = self._run([self.tokenizer.encode_prompt(prompt) for prompt in prompts], asked)
        for request in drawn:
            if len(request.outputs) != n:
                raise InputError(
                    f"vLLM must return {n} completions of a prompt; found {len(request.outputs)}."
                )
        return [[self._completion(output) for output in request.outputs] for request in drawn]

    def log_prob(self, prompts: Sequence[Prompt], completions: Sequence[Any]) -> Floats:
        """Return the log-probability of each completion of the prompt beside it.

        Parameters
        ----------
        prompts : sequence
            Texts or chat messages.
        completions : sequence, as many
            A :class:`Completion`, its ids, or its text, which is tokenised and ended.

        Returns
        -------
        array, shape (n,)
            In nats; ``-inf`` for what can never be drawn.

        Raises
        ------
        InputError
            If the spec has another temperature than 1, or truncates.
        """
        if self.spec.temperature != 1 or self.spec.truncates:
            raise InputError(
                "vLLM scores given tokens at temperature 1 without truncation only, which is not what this spec draws "
                f"from: {self.spec!r:.200}. What it draws comes with its log-probability; score other completions with "
                "hf: and the same weights."
            )
        check_pairs(prompts, completions)
        ids = [outcome_of(completion, self) for completion in completions]
        total = np.full(len(ids), -np.inf)
        some = [i for i, whole in enumerate(ids) if can_be_drawn(whole, self)]
        begun = [self.tokenizer.encode_prompt(prompts[i]) for i in some]
        params = self._asked(max_tokens=1, stop=[], detokenize=False, prompt_logprobs=0)
        wholes = [[*before, *ids[i]] for i, before in zip(some, begun, strict=True)]
        for i, before, request in zip(some, begun, self._run(wholes, [params] * len(some)), strict=True):
            total[i] = sum(_reported(request.prompt_logprobs[len(before) :], ids[i]))
        return total

    def _asked(self, **options: Any) -> Any:
        """Return parameters that name everything that changes what is drawn from."""
        spec = self.spec
        everything = {
            "temperature": spec.temperature,
            "top_p": spec.top_p,
            "top_k": spec.top_k,
            "min_p": spec.min_p,
            "max_tokens": spec.max_tokens,
            "stop": list(spec.stop),
            "detokenize": bool(spec.stop),
            "include_stop_str_in_output": True,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "repetition_penalty": 1.0,
            "min_tokens": 0,
            "ignore_eos": False,
        }
        return import_module("vllm").SamplingParams(**{**everything, **options})

    def _run(self, ids: list[list[int]], params: list[Any]) -> list[Any]:
        if not ids:
            return []
        requests = [{"prompt_token_ids": one} for one in ids]
        with self.turn:
            return self.llm.generate(requests, params, use_tqdm=False, lora_request=self.adapter)

    def _completion(self, output: Any) -> Completion:
        ids = tuple(int(i) for i in output.token_ids)
        log_probs = _reported(output.logprobs, ids)
        return Completion(
            ids=ids, text=self.decode(ids), log_prob=float(sum(log_probs)), ended=self._ended(output, ids)
        )

    def _ended(self, output: Any, ids: tuple[int, ...]) -> Literal["end", "stop", "length"]:
        reason, longest = output.finish_reason, self.spec.max_tokens
        if reason == "stop" and ids and ids[-1] == self.end_id:
            return "end"
        if reason == "stop" and isinstance(output.stop_reason, str):
            return "stop"
        if reason == "length" and len(ids) == longest:
            return "length"
        raise InputError(
            f"a completion must end with the end token ({self.end_id}), with a stop string or at max_tokens "
            f"({longest}); vLLM ended one of {len(ids)} tokens by {reason!r} ({output.stop_reason!r}). Its context "
            "(max_model_len) may be too short, or its end token another one than the tokenizer's."
        )


def _reported(log_probs: Any, ids: tuple[int, ...]) -> list[float]:
    """Return the log-probability of every token, from what vLLM reports by place and token."""
    if log_probs is None or len(log_probs) != len(ids):
        found = "none" if log_probs is None else len(log_probs)
        raise InputError(f"vLLM must report a log-probability for each of {len(ids)} tokens; found {found}.")
    return [float(place[token].logprob) for place, token in zip(log_probs, ids, strict=True)]


def load_vllm(
    name: str,
    *,
    spec: SamplingSpec,
    revision: str | None = None,
    adapter: str | None = None,
    base: VllmModel | None = None,
    dtype: str = "auto",
    **engine: Any,
) -> VllmModel:
    """Return a model that vLLM runs in this process.

    Parameters
    ----------
    name : str
        Folder or identifier of the hub.
    spec : SamplingSpec
        What is drawn from.
    revision : str, optional
        Of the hub.
    adapter : str, optional
        Folder or identifier of a LoRA adapter to put on it.
    base : VllmModel, optional
        A model loaded earlier from the same name, with an adapter or with ``enable_lora=True``: its engine is used.
    dtype : str
        What is computed in; ``auto`` is what the model was stored in, and ``ref_id`` says which.
    **engine
        Other arguments of ``vllm.LLM``: ``tensor_parallel_size``, ``max_model_len``, ``gpu_memory_utilization``, ...

    Returns
    -------
    VllmModel
        The model.

    Raises
    ------
    MissingExtraError
        If vllm is not installed.
    InputError
        If ``base`` is another model, or an argument would change what is drawn from.
    """
    try:
        vllm = import_module("vllm")
    except ImportError as reason:
        raise MissingExtraError(reason.name or "vllm", "vllm", "a model run by vLLM") from reason
    ours = {"logprobs_mode": "processed_logprobs", "generation_config": "vllm"}
    taken = sorted({*ours, "logits_processors", "override_generation_config"} & set(engine))
    if taken:
        raise InputError(f"what is drawn from is said by the spec alone; leave out {', '.join(taken)}.")
    if base is not None and (base.ref_id["model"], base.ref_id["revision"]) != (name, revision):
        raise InputError(
            f"base must be the same model, so that its weights can be shared; it is {base.ref_id['model']!r:.100}, "
            f"asked for is {name!r:.100}. Leave base out to load another one."
        )
    lora = {} if adapter is None else {"enable_lora": True, "max_lora_rank": _rank(adapter)}
    llm = base.llm if base is not None else vllm.LLM(
        model=name, revision=revision, tokenizer_revision=revision, dtype=dtype, **{**ours, **lora, **engine}
    )  # fmt: skip
    tokenizer = tokenizer_of(llm.get_tokenizer())
    ref_id = {
        "model": name,
        "revision": revision,
        "engine": f"vllm {vllm.__version__}",
        "dtype": str(llm.model_config.dtype),
        "chat_template": getattr(llm.get_tokenizer(), "chat_template", None),
        "adapter": adapter,
    }
    turn = None if base is None else base.turn
    if adapter is None:
        return VllmModel(llm, tokenizer, spec, ref_id=ref_id, turn=turn)
    identity = identity_of(adapter)
    # One number for one adapter, also in a later call on the same engine.
    request = import_module("vllm.lora.request").LoRARequest(
        lora_name=identity, lora_int_id=1 + int(identity[:7], 16), lora_path=adapter
    )
    ref_id["adapter_weights"] = identity
    return VllmModel(llm, tokenizer, spec, ref_id=ref_id, adapter=request, turn=turn)


def _rank(adapter: str) -> int:
    """Return the least of the ranks that vLLM takes which is enough."""
    wanted = int(settings_of(adapter)["r"])
    return next((rank for rank in (1, 8, 16, 32, 64, 128, 256, 320, 512) if rank >= wanted), wanted)
