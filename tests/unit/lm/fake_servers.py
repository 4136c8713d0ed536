"""Servers in a thread that answer as vLLM's, SGLang's and OpenAI's do, from a local model, and fail when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from tiltz.lm import Completion, LocalModel, SamplingSpec

# CompletionRequest of vLLM 0.33: vllm/entrypoints/openai/completion/protocol.py
VLLM_FIELDS = """
    model prompt echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed stop stream
    stream_options suffix temperature top_p user top_k min_p repetition_penalty watermarking length_penalty
    stop_token_ids include_stop_str_in_output ignore_eos min_tokens skip_special_tokens spaces_between_special_tokens
    truncate_prompt_tokens allowed_token_ids prompt_logprobs logprob_token_ids bad_words add_special_tokens
    return_tokens_as_token_ids return_token_ids
"""
Fault = str | None


@dataclass
class FakeServer:
    """What a server answers.

    Attributes
    ----------
    model : LocalModel
        Draws and scores.
    kind : str
        vllm, sglang or openai.
    reports : str
        Which log-probabilities are told: processed, tempered or raw.
    most : int
        Completions of one request at most.
    scores : bool
        Whether log-probabilities of a prompt are told.
    all_tokens : bool
        Whether log-probabilities of the whole vocabulary may be asked for.
    shift : float
        Added to every log-probability of what is drawn, as if logits were told.
    end_told : bool
        Whether openai tells the log-probability of the end token.
    ended_by : int, optional
        The end token that vllm or sglang says a completion ended with, if not the tokenizer's.
    fault : callable
        Given the number of a request for completions, how it fails.
    """

    model: LocalModel
    kind: str = "vllm"
    reports: str = "processed"
    most: int = 1000
    scores: bool = True
    all_tokens: bool = True
    shift: float = 0.0
    end_told: bool = True
    ended_by: int | None = None
    fault: Callable[[int], Fault] = lambda number: None
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def get(self, path: str) -> Any:
        listed = {
            "id": "toy",
            "owned_by": self.kind if self.kind != "openai" else "me",
            "root": "/models/toy",
        }
        known = {"/v1/models": {"data": [listed]}, "/version": {"version": "0.33.0"}}
        return (known | {"/get_model_info": {"model_path": "/models/toy"}}).get(path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        if path == "/tokenize":
            text = body.get("prompt") or body["messages"][-1]["content"]
            return {"tokens": self.model.engine.encode_prompt(text)}
        if path == "/generate":
            return self.generate(body)
        if "prompt_logprobs" in body or body.get("echo"):
            return self.scored(body)
        return self.completions(body)

    def drawn(
        self, start: list[int], n: int, seed: Any, spec: SamplingSpec
    ) -> list[tuple[Completion, list[float]]]:
        """Draw, and score every token as this server reports it."""
        prompt = self.model.decode(start)
        drawn_from = LocalModel(self.model.engine, spec, ref_id={})
        found = drawn_from.sample([prompt], min(n, self.most), np.random.default_rng(seed))[0]
        reported = {
            "processed": spec,
            "tempered": replace(spec, top_k=0, top_p=1.0, min_p=0.0),
            "raw": replace(spec, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0),
        }[self.reports]
        told = LocalModel(self.model.engine, reported, ref_id={})
        return [(c, [p + self.shift for p in steps(told, prompt, c.ids)]) for c in found]

    def completions(self, body: dict[str, Any]) -> Any:
        if self.kind == "vllm" and not set(body) <= set(VLLM_FIELDS.split()):
            return 400, {"error": {"message": f"unknown: {set(body) - set(VLLM_FIELDS.split())}"}}
        if self.kind == "vllm" and body["temperature"] > 2:
            return 400, {"error": {"message": "temperature must be in [0, 2]"}}
        found = self.drawn(body["prompt"], body["n"], body.get("seed"), spec_of(body, "max_tokens"))
        choices = []
        for i, (c, log_probs) in enumerate(found):
            told = log_probs if self.end_told or c.ended != "end" else log_probs[:-1]
            choice = {
                "index": i, "text": c.text, "finish_reason": "length" if c.truncated else "stop",
                "logprobs": {"token_logprobs": told, "tokens": self.pieces(c.ids)},
            }  # fmt: skip
            if self.kind == "vllm":
                matched = next((s for s in body["stop"] if s in c.text), None)
                choice |= {"token_ids": list(c.ids), "stop_reason": matched if c.ended == "stop" else None}
                choice |= {"stop_reason": self.ended_by} if c.ended == "end" else {}
            choices.append(choice)
        return {"choices": choices[::-1] if self.kind == "vllm" else choices}

    def scored(self, body: dict[str, Any]) -> Any:
        if not self.scores:
            return 400, {"error": {"message": "prompt_logprobs is not supported"}}
        every = body.get("prompt_logprobs") == -1
        if every and not self.all_tokens:
            return 400, {
                "error": {
                    "message": "Requested prompt logprobs of 259, which is greater than max allowed: 20"
                }
            }
        ids = body["prompt"]
        rows = self.raw_rows(ids)
        if body.get("echo"):
            return {
                "choices": [
                    {
                        "logprobs": {
                            "token_logprobs": [None, *(r[i] for r, i in zip(rows, ids[1:], strict=True))]
                        }
                    }
                ]
            }
        listed = [
            {str(j): {"logprob": r[j]} for j in (range(len(r)) if every else [i])}
            for r, i in zip(rows, ids[1:], strict=True)
        ]
        return {"choices": [{"prompt_logprobs": [None, *listed]}]}

    def generate(self, body: dict[str, Any]) -> Any:
        ids, sampling = body["input_ids"], body["sampling_params"]
        if "logprob_start_len" in body:
            rows = self.raw_rows(ids)
            told = [[None, ids[0], None], *([r[i], i, None] for r, i in zip(rows, ids[1:], strict=True))]
            return {
                "text": "",
                "meta_info": {"input_token_logprobs": told, "finish_reason": {"type": "length"}},
            }
        found = self.drawn(
            ids, sampling["n"], sampling.get("sampling_seed"), spec_of(sampling, "max_new_tokens")
        )
        answers = []
        for c, log_probs in found:
            end: dict[str, Any] = {"type": "length" if c.truncated else "stop"}
            if c.ended != "length":
                end["matched"] = (self.ended_by or c.ids[-1]) if c.ended == "end" else sampling["stop"][0]
            told = [[p, i, None] for p, i in zip(log_probs, c.ids, strict=True)]
            meta = {"finish_reason": end, "output_token_logprobs": told}
            answers.append({"text": c.text, "output_ids": list(c.ids), "meta_info": meta})
        return answers if len(answers) > 1 else answers[0]

    def pieces(self, ids: tuple[int, ...]) -> list[str]:
        """Return what every token adds to the text, as a server's vocabulary writes it, spaces first."""
        return ["</s>" if i == self.model.end_id else f" {self.model.decode([i])}" for i in ids]

    def raw_rows(self, ids: list[int]) -> list[list[float]]:
        """Return what may follow every prefix of a prompt, under the model itself."""
        engine = self.model.engine
        one = np.zeros(1, dtype=np.int64)
        _, logits = engine.extend(engine.begin(), one, np.array([ids]), np.array([len(ids)]))
        return SamplingSpec().log_probs(np.asarray(logits)[0, :-1]).tolist()


def spec_of(body: dict[str, Any], longest: str) -> SamplingSpec:
    return SamplingSpec(
        temperature=body["temperature"], top_p=body["top_p"], top_k=max(body.get("top_k", 0), 0),
        min_p=body.get("min_p", 0.0), max_tokens=body[longest], stop=tuple(body.get("stop", ())),
    )  # fmt: skip


def steps(model: LocalModel, prompt: str, ids: tuple[int, ...]) -> list[float]:
    after = model.next_log_probs(prompt, [ids[:k] for k in range(len(ids))])
    return after[np.arange(len(ids)), list(ids)].tolist()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        found = self.fake.get(self.path)
        self.answer(404 if found is None else 200, found or {"error": "not here"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = None
        if self.path in ("/v1/completions", "/generate"):
            with self.fake.lock:
                self.fake.asked.append(body)
                self.fake.keys.add(self.headers.get("Authorization"))
                fault = self.fake.fault(len(self.fake.asked))
        if fault in ("429", "500", "503", "401"):
            after = {"Retry-After": "0.01"} if fault == "429" else {}
            said = f"no, {self.headers.get('Authorization')}"
            self.answer(int(fault), {"error": {"message": said}}, after)
        elif fault == "hang":
            self.fake.over.wait(30)
            self.close_connection = True
        elif fault == "close":
            self.close_connection = True
        else:
            found = self.fake.post(self.path, body)
            status, found = found if isinstance(found, tuple) else (200, found)
            if fault in ("no log-probs", "too few"):
                for choice in found["choices"]:
                    values = choice["logprobs"]["token_logprobs"]
                    choice["logprobs"] = None if fault == "no log-probs" else {"token_logprobs": values[:-1]}
            if fault == "other tokens":
                for choice in found["choices"]:
                    told = choice["logprobs"]["tokens"]
                    told[:2] = [told[0] + told[1][:2], told[1][2:]]
            self.answer(status, found, cut=fault == "half")

    def answer(
        self, status: int, content: Any, headers: dict[str, str] | None = None, cut: bool = False
    ) -> None:
        data = json.dumps(content).encode()
        data = data[: len(data) // 2] if cut else data
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hung up, as they do after a timeout."""


@contextmanager
def serving(fake: FakeServer) -> Iterator[str]:
    """Serve on a free port and give the address."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        fake.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
