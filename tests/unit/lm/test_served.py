"""Models behind servers: what they draw and score, and that nothing is lost, twice or waited for when servers fail."""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from email.utils import formatdate

import duckdb
import numpy as np
import pytest
from scipy import stats

from tests.unit.lm.fake_servers import FakeServer, serving
from tests.unit.lm.llama_server import llama_server as llama_server
from tiltz import lm
from tiltz.errors import InputError, MissingExtraError, ServerError
from tiltz.lm.load import EMBEDDED
from tiltz.lm.served.client import Client, finished, seconds_asked
from tiltz.lm.tokenizer import tokenizer_of
from tiltz.lm.words import Words
from tiltz.rollouts.drawing import rollout
from tiltz.testbeds import check_language_model

REFERENCE = EMBEDDED / "reference"
PROMPTS = [json.loads(row)["prompt"] for row in (EMBEDDED / "prompts.jsonl").read_text("utf-8").splitlines()]
SUM = "what is two plus four ? ->"
SPECS = {
    "plain": lm.SamplingSpec(max_tokens=24),
    "tempered": lm.SamplingSpec(max_tokens=24, temperature=1.3),
    "truncated": lm.SamplingSpec(max_tokens=24, temperature=0.8, top_k=40, top_p=0.9, min_p=0.02),
    "stop": lm.SamplingSpec(max_tokens=24, stop=(" the", " is")),
    "tempered stop": lm.SamplingSpec(max_tokens=24, temperature=1.3, stop=(" the", " is")),
}


def local(spec):
    return lm.load("tiny", spec=spec)


def served(url, spec=SPECS["plain"], **options):
    return lm.load(f"openai:{url}", spec=spec, tokenizer=REFERENCE, **options)


def flat(prompts, drawn):
    pairs = [(prompt, c) for prompt, group in zip(prompts, drawn, strict=True) for c in group]
    return [prompt for prompt, _ in pairs], [c for _, c in pairs]


# A real server: llama.cpp's.


@pytest.mark.parametrize("spec", ["truncated", "stop"])
def test_llama_cpp_keeps_the_promises(spec, llama_server):
    tokenizer = Spaced(local(SPECS[spec]).engine)
    model = lm.load(f"openai:{llama_server}", spec=SPECS[spec], tokenizer=tokenizer)
    check_language_model(model, PROMPTS[::80], n=6)


class Spaced:
    """A tokenizer whose texts are those of the server's vocabulary: every word begins with a space."""

    def __init__(self, tokenizer):
        self.tokenizer, self.end_id = tokenizer, tokenizer.end_id
        self.encode, self.encode_prompt = tokenizer.encode, tokenizer.encode_prompt

    def decode(self, ids):
        return "".join(f" {self.tokenizer.decode([i])}" for i in ids)


@pytest.mark.parametrize("spec", SPECS)
def test_llama_cpp_draws_and_scores_as_the_model_does(spec, llama_server):
    prompts = PROMPTS[::20]
    model = served(f"{llama_server}/v1/#reference", SPECS[spec])
    drawn = model.sample(prompts, 5, np.random.default_rng(0))
    assert [len(group) for group in drawn] == [5] * len(prompts)
    prompts, completions = flat(prompts, drawn)
    truth = local(SPECS[spec]).log_prob(prompts, completions)
    assert np.abs(truth - [c.log_prob for c in completions]).max() < 1e-3
    some = slice(0, 30)
    assert np.abs(truth[some] - model.log_prob(prompts[some], completions[some])).max() < 1e-3
    assert [local(SPECS[spec]).decode(c.ids) for c in completions] == [c.text for c in completions]
    assert {c.ended for c in completions} - {"length"} == {"end", *(["stop"] if "stop" in spec else [])}


@pytest.mark.parametrize(
    ("spec", "n"), [(lm.SamplingSpec(max_tokens=2), 1000), (lm.SamplingSpec(max_tokens=2, top_p=0.8), 400)]
)
def test_llama_cpp_draws_with_the_probabilities_that_it_says(spec, n, llama_server):
    drawn = served(llama_server, spec).sample([SUM], n, np.random.default_rng(3))[0]
    counts = Counter(c.ids for c in drawn)
    assert misfit(local(spec), counts, n) > 1e-6
    warmer = lm.SamplingSpec(max_tokens=2, top_p=spec.top_p, temperature=1.4)
    assert misfit(local(warmer), counts, n) < 1e-6


def misfit(model, counts, n):
    """Return the p-value of counts of two tokens, rare ones together."""
    first = np.exp(model.next_log_probs(SUM, [()])[0])
    after = np.exp(model.next_log_probs(SUM, [(i,) for i in range(model.vocab_size)]))
    after[model.end_id] = 0.0
    prob = {(i, j): first[i] * after[i, j] for i, j in np.ndindex(*after.shape)}
    prob[(model.end_id,)] = first[model.end_id]
    common = [ids for ids, p in prob.items() if n * p >= 5]
    expected = np.array([n * prob[ids] for ids in common])
    seen = np.array([counts[ids] for ids in common])
    expected, seen = np.append(expected, n - expected.sum()), np.append(seen, n - seen.sum())
    if np.any(seen[expected < 1e-6]):
        return 0.0
    expected, seen = expected[expected >= 1e-6], seen[expected >= 1e-6]
    return stats.chi2.sf(float(((seen - expected) ** 2 / expected).sum()), len(seen) - 1)


def test_llama_cpp_tokenises_what_it_is_given_as_text(llama_server):
    model = lm.load(f"openai:{llama_server}", spec=SPECS["plain"])
    drawn = model.sample([" " + SUM], 4, np.random.default_rng(0))[0]
    same = served(llama_server).sample([SUM], 4, np.random.default_rng(0))[0]
    assert [c.ids for c in drawn] == [c.ids for c in same]
    assert [c.text for c in drawn] == [" " + c.text for c in same]
    with pytest.raises(InputError, match="tokenizer=PATH_OR_ID"):
        model.log_prob([SUM], ["six"])
    assert served(llama_server).log_prob([SUM], ["six"]) == pytest.approx(
        local(SPECS["plain"]).log_prob([SUM], ["six"]), abs=1e-3
    )


def test_what_a_server_says_of_itself_is_the_reference(llama_server):
    model = served(llama_server, api_key="sk-secret")
    assert model.ref_id == {
        "model": "reference", "server": "llama.cpp", "n_vocab": 259, "n_params": 824832, "size": 3299328,
        "ftype": model.ref_id["ftype"], "build": model.ref_id["build"], "chat_template": model.ref_id["chat_template"],
        "tokenizer": str(REFERENCE), **SPECS["plain"].to_dict(),
    }  # fmt: skip
    assert "sk-secret" not in f"{model!r} {model.ref_id} {model.access!r}"
    with pytest.raises(InputError, match="'reference'; found 'other'"):
        _ = served(f"{llama_server}#other").ref_id


def test_completions_that_were_drawn_otherwise_are_refused(llama_server, monkeypatch):
    post = Client.post
    otherwise = lambda self, path, body: post(self, path, {**body, "temperature": 0.5})  # noqa: E731
    monkeypatch.setattr(Client, "post", otherwise)
    with pytest.raises(ServerError, match=r"drawn with temperature = 1\.0; the server drew with 0\.5"):
        served(llama_server).sample([SUM], 1, np.random.default_rng(0))


def test_a_context_that_is_too_short_is_no_length(llama_server):
    model = served(llama_server, lm.SamplingSpec(max_tokens=100, temperature=100.0), retries=0)
    with pytest.raises(ServerError, match="as many where it is cut"):
        model.sample([SUM], 8, np.random.default_rng(0))


# Other kinds of servers, as they answer.


@pytest.mark.parametrize(
    ("kind", "spec", "options"),
    [
        ("vllm", "plain", {"reports": "raw"}),
        ("vllm", "tempered", {}),
        ("vllm", "stop", {}),
        ("sglang", "plain", {"reports": "raw"}),
        ("sglang", "stop", {"reports": "tempered"}),
        ("openai", "plain", {}),
        ("openai", "plain", {"end_told": False}),
    ],
)
def test_other_servers_keep_the_promises(kind, spec, options):
    fake = FakeServer(local(SPECS[spec]), kind=kind, **options)
    with serving(fake) as url:
        check_language_model(served(url, SPECS[spec]), PROMPTS[::80], n=4)


@pytest.mark.parametrize(
    ("kind", "reports", "spec", "says"),
    [
        ("vllm", "raw", "tempered", "which has a temperature"),
        ("vllm", "tempered", "truncated", "which has a truncation"),
        ("vllm", "processed", "tempered", None),
        ("vllm", "processed", "truncated", None),
        ("sglang", "raw", "tempered", "which has a temperature"),
        ("sglang", "tempered", "truncated", "which has a truncation"),
        ("sglang", "tempered", "tempered", None),
        ("sglang", "processed", "truncated", None),
    ],
)
def test_log_probs_from_before_what_is_drawn_are_refused(kind, reports, spec, says):
    chosen = lm.SamplingSpec(max_tokens=8, top_k=5) if spec == "truncated" else SPECS[spec]
    with serving(FakeServer(local(chosen), kind=kind, reports=reports)) as url:
        model = served(url, chosen)
        if says is None:
            prompts, completions = flat(PROMPTS[:3], model.sample(PROMPTS[:3], 4, np.random.default_rng(0)))
            truth = local(chosen).log_prob(prompts, completions)
            assert np.abs(truth - [c.log_prob for c in completions]).max() < 1e-4
        else:
            with pytest.raises(InputError, match=says):
                model.sample([SUM], 4, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("shift", "error", "says"),
    [
        (37.5, ServerError, r"at most 0; the server reported 3\d\..*--logprobs-mode"),
        (-12.0, InputError, "logits"),
    ],
)
def test_logits_are_no_log_probs(shift, error, says):
    with (
        serving(FakeServer(local(SPECS["plain"]), reports="raw", shift=shift)) as url,
        pytest.raises(error, match=says),
    ):
        served(url).sample([SUM], 2, np.random.default_rng(0))


def test_a_server_that_does_not_score_draws_from_the_model_itself():
    with serving(FakeServer(local(SPECS["plain"]), reports="raw", scores=False)) as url:
        drawn = served(url).sample([SUM], 4, np.random.default_rng(0))[0]
        with pytest.raises(ServerError, match="prompt_logprobs is not supported"):
            served(url).log_prob([SUM], drawn[:1])
    truth = local(SPECS["plain"]).log_prob([SUM] * 4, drawn)
    assert np.abs(truth - [c.log_prob for c in drawn]).max() < 1e-4


@pytest.mark.parametrize("spec", [{"temperature": 0.005}, {"temperature": 3.0}])
def test_temperatures_that_vllm_would_change_are_refused(spec):
    with (
        serving(FakeServer(local(SPECS["plain"]))) as url,
        pytest.raises(InputError, match=r"from 0\.01 to 2\.0"),
    ):
        _ = served(url, lm.SamplingSpec(**spec)).ref_id


@pytest.mark.parametrize(("kind", "says"), [("vllm", "with 7, another end"), ("sglang", "ended with 7, and")])
def test_other_end_tokens_than_the_tokenizers_are_refused(kind, says):
    model = local(SPECS["plain"])
    with (
        serving(FakeServer(model, kind=kind, ended_by=7)) as url,
        pytest.raises(ServerError, match=says),
    ):
        served(url).sample([SUM], 4, np.random.default_rng(0))
    other = WithEnd(model.engine, end_id=7)
    with serving(FakeServer(model, kind=kind)) as url:
        of_another = lm.load(f"openai:{url}", spec=SPECS["plain"], tokenizer=other)
        with pytest.raises(
            ServerError, match=rf"of the tokenizer \(7\); the server ended one with {model.end_id}"
        ):
            of_another.sample([SUM], 4, np.random.default_rng(0))


class WithEnd:
    """A tokenizer with another end token."""

    def __init__(self, tokenizer, *, end_id):
        self.end_id = end_id
        self.encode, self.encode_prompt, self.decode = (
            tokenizer.encode,
            tokenizer.encode_prompt,
            tokenizer.decode,
        )


def test_text_that_was_drawn_as_other_tokens_is_refused():
    fake = FakeServer(local(SPECS["plain"]), kind="openai", fault=lambda number: "other tokens")
    with (
        serving(fake) as url,
        pytest.raises(ServerError, match="must become the tokens that were drawn; token 0"),
    ):
        served(url).sample([SUM], 4, np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["llama.cpp", "vllm", "sglang", "openai"])
@pytest.mark.parametrize("name", ["temperature", "logit_bias"])
def test_further_fields_that_say_what_the_spec_says_are_refused(kind, name, request):
    with serving(FakeServer(local(SPECS["plain"]), kind=kind)) as url:
        place = request.getfixturevalue("llama_server") if kind == "llama.cpp" else url
        model = served(place, extra={name: 0.3, "user": "me"})
        for ask in (
            lambda: model.sample([SUM], 1, np.random.default_rng(0)),
            lambda: model.log_prob([SUM], ["six"]),
        ):
            with pytest.raises(InputError, match=f"said by the spec alone.*leave out {name}\\."):
                ask()


def test_what_goes_on_after_a_stop_string_is_never_drawn():
    model = local(SPECS["stop"])
    the, six = model.encode("the")[0], model.encode("six")[0]
    with serving(FakeServer(model)) as url:
        some = [(six, the), (six, the, model.end_id), (six, the, the)]
        found = served(url, SPECS["stop"]).log_prob([SUM] * 3, some)
    assert found[0] == pytest.approx(model.log_prob([SUM], [some[0]])[0], abs=1e-3)
    assert list(found[1:]) == [-np.inf, -np.inf]


def test_what_a_server_cannot_do_is_said():
    with serving(FakeServer(local(SPECS["tempered"]), all_tokens=False)) as url:
        with pytest.raises(InputError, match="--max-logprobs -1"):
            served(url, SPECS["tempered"]).log_prob([SUM], ["six"])
        with pytest.raises(InputError, match="min_p before top_p"):
            _ = served(url, SPECS["truncated"]).ref_id
    with serving(FakeServer(local(SPECS["tempered"]), kind="sglang", reports="tempered")) as url:
        with pytest.raises(InputError, match="hf:PATH"):
            served(url, SPECS["tempered"]).log_prob([SUM], ["six"])
        with pytest.raises(InputError, match="tokenizer=PATH_OR_ID"):
            lm.load(f"openai:{url}").sample([[{"role": "user", "content": SUM}]], 1, np.random.default_rng(0))
    with serving(FakeServer(local(SPECS["plain"]), kind="openai")) as url:
        with pytest.raises(InputError, match="does not tell tokens"):
            _ = lm.load(f"openai:{url}").ref_id
        for spec in ("tempered", "stop"):
            with pytest.raises(InputError, match="use vLLM"):
                _ = served(url, SPECS[spec]).ref_id


def test_chat_messages_become_tokens_by_the_servers_template():
    with serving(FakeServer(local(SPECS["plain"]))) as url:
        model = lm.load(f"openai:{url}", spec=SPECS["plain"])
        chat, text = [[{"role": "user", "content": SUM}]], [SUM]
        drawn = [model.sample(prompts, 5, np.random.default_rng(0))[0] for prompts in (chat, text)]
        assert drawn[0] == drawn[1]
        assert np.array_equal(model.log_prob(chat, [drawn[0][0]]), model.log_prob(text, [drawn[0][0]]))


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_as_many_completions_come_as_asked_for(most):
    fake = FakeServer(local(SPECS["plain"]), most=most)
    with serving(fake) as url:
        drawn = served(url).sample(PROMPTS[:3], 7, np.random.default_rng(0))
    assert [len(group) for group in drawn] == [7, 7, 7]
    seeds = [body["seed"] for body in fake.asked[1:]]  # the first finds out what is reported
    assert len(set(seeds)) == len(seeds) == 3 * -(-7 // most)


def test_what_is_sent_says_all_that_changes_what_is_drawn():
    spec = lm.SamplingSpec(max_tokens=5, top_k=7)
    fake = FakeServer(local(spec))
    with serving(fake) as url:
        served(url, spec, api_key="sk-secret", extra={"user": "me"}).sample(
            [SUM], 2, np.random.default_rng(0)
        )
    assert fake.keys == {"Bearer sk-secret"}
    sent = fake.asked[-1]
    assert sent.pop("seed") >= 0
    assert sent == {
        "model": "toy", "prompt": local(spec).engine.encode_prompt(SUM), "n": 2, "temperature": 1.0, "top_p": 1.0,
        "top_k": 7, "min_p": 0.0, "max_tokens": 5, "stop": [], "include_stop_str_in_output": True, "logprobs": 0,
        "return_token_ids": True, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "min_tokens": 0, "ignore_eos": False, "watermarking": False, "stream": False, "user": "me",
    }  # fmt: skip


# Servers that fail.


def now_and_then(share, kinds, hangs):
    rng = random.Random(0)
    faults = [rng.choice(kinds) if rng.random() < share else None for _ in range(10_000)]
    return lambda number: "hang" if number in hangs else faults[number]


def test_nothing_is_lost_or_twice_when_a_server_fails_now_and_then():
    fake = FakeServer(local(SPECS["plain"]), most=2)
    prompts = PROMPTS[:12]
    with serving(fake) as url:
        wanted = served(url).sample(prompts, 4, np.random.default_rng(0))
        n_asked = len(fake.asked)
        fake.fault = now_and_then(
            0.4, ["429", "500", "503", "half", "close"], hangs={n_asked + 3, n_asked + 9}
        )
        model = served(url, backoff=0.005, timeout=3.0, retries=20)
        begun = time.monotonic()
        assert model.sample(prompts, 4, np.random.default_rng(0)) == wanted
        assert time.monotonic() - begun < 40
    assert len(fake.asked) - n_asked > 1.3 * n_asked


@pytest.mark.parametrize(
    ("fault", "says", "n_asked"),
    [
        ("500", r"after 3 tries its last answer was: status 500, 'no, Bearer \*\*\*'", 3),
        ("half", "after 3 tries .* no whole JSON", 3),
        ("close", "after 3 tries", 3),
        ("hang", "after 3 tries .* nothing within 1 s", 3),
        ("401", r"refused POST /v1/completions: status 401, 'no, Bearer \*\*\*'", 1),
        ("no log-probs", "log-probability of every token of a completion; found none", 1),
        ("too few", "log-probability of every token of a completion; found", 1),
    ],
)
def test_a_server_that_keeps_failing_is_given_up(fault, says, n_asked):
    fake = FakeServer(local(SPECS["plain"]))
    with serving(fake) as url:
        timeout = 1.0 if fault == "hang" else 60.0
        model = served(url, concurrency=1, retries=2, backoff=0.005, timeout=timeout, api_key="sk-secret")
        fake.fault = lambda number: fault if number > 3 else None
        with pytest.raises(ServerError, match=f"{says}.* 2 of the 5 prompts of this call had all"):
            model.sample(PROMPTS[:5], 3, np.random.default_rng(0))
    assert len(fake.asked) == 3 + n_asked


def test_a_server_that_is_not_there_is_named_a_connection_refused():
    with pytest.raises(ServerError, match=r"GET /v1/models; after 2 tries its last answer was: ConnectError"):
        served("http://127.0.0.1:9", retries=1, backoff=0.005).sample([SUM], 1, np.random.default_rng(0))


def test_a_server_that_says_when_to_come_again_is_believed():
    fake = FakeServer(local(SPECS["plain"]), fault=lambda number: "429" if number < 4 else None)
    with serving(fake) as url:
        begun = time.monotonic()
        served(url, backoff=30.0).sample([SUM], 1, np.random.default_rng(0))
        assert time.monotonic() - begun < 10
    assert seconds_asked(formatdate(time.time() + 100, usegmt=True)) == pytest.approx(100, abs=3)
    assert [seconds_asked(text) for text in (formatdate(0), "soon", None)] == [0.0, None, None]


def test_a_rollout_keeps_what_is_finished_and_goes_on(tmp_path):
    fake = FakeServer(local(SPECS["plain"]), fault=lambda number: "503" if number > 8 else None)
    reward = lambda completions, **columns: [float(len(text)) for text in completions]  # noqa: E731
    with serving(fake) as url:
        model = served(url, concurrency=1, retries=1, backoff=0.005)
        run = lambda: rollout(model, reward, PROMPTS[:10], 4, tmp_path, batch_prompts=2)  # noqa: E731
        with pytest.raises(
            ServerError, match=r"1 of the 2 prompts of this call .* The 24 completions of finished shards"
        ):
            run()
        assert len(list(tmp_path.glob("part-*.parquet"))) == 3
        fake.fault = lambda number: None
        assert (run().n_new, run().n_new) == (16, 0)
    rows = duckdb.sql(f"SELECT prompt, count(*) FROM '{tmp_path}/part-*.parquet' GROUP BY 1").fetchall()
    assert sorted(rows) == sorted((prompt, 4) for prompt in PROMPTS[:10])


# Names and values.


def test_nothing_is_asked_before_it_is_needed():
    assert lm.load("openai:http://127.0.0.1:9#model").spec.max_tokens == 256


def test_what_must_be_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tiltz\[server\]'"):
        lm.load("openai:http://a")


@pytest.mark.parametrize(
    ("place", "options", "says"),
    [
        ("localhost:8000", {}, "begin with http"),
        ("http://a", {"server": "ollama"}, "server must be one of"),
        ("http://a", {"concurrency": 0}, "concurrency must be above 0"),
        ("http://a", {"retries": -1}, "retries must be at least 0"),
        ("http://a", {"tokenizer": 7}, "tokenizer must be a folder"),
    ],
)
def test_places_and_options_that_are_refused(place, options, says):
    with pytest.raises(InputError, match=says):
        lm.load(f"openai:{place}", **options)


def test_tokenizers_of_every_kind_say_the_same():
    from transformers import AutoTokenizer

    words = Words.read(REFERENCE)
    given = [
        words,
        REFERENCE,
        str(REFERENCE),
        local(SPECS["plain"]).engine,
        AutoTokenizer.from_pretrained(REFERENCE),
    ]
    made = [lm.load("openai:http://a", tokenizer=tokenizer).tokenizer for tokenizer in given]
    assert (
        len({(tuple(t.encode_prompt(SUM)), tuple(t.encode("six")), t.decode([59]), t.end_id) for t in made})
        == 1
    )


@pytest.mark.parametrize(
    ("made", "first", "ids"),
    [([], None, [2]), ([], 1, [1]), ([2], 1, [1]), ([7, 2], 1, [7]), ([1, 7], 1, [1, 7])],
)
def test_a_prompt_begins_a_text_and_is_never_empty(made, first, ids):
    class Given:
        eos_token_id, bos_token_id = 2, first

        def __call__(self, text, *, add_special_tokens):
            return {"input_ids": made if add_special_tokens else []}

    assert tokenizer_of(Given()).encode_prompt("") == ids


def test_ids_that_are_no_outcome_are_refused():
    model = lm.load("openai:http://127.0.0.1:9", spec=SPECS["stop"], tokenizer=REFERENCE)
    for ids in ((), (-1, 2), (59,), (59, 60)):
        with pytest.raises(InputError, match="ids must be"):
            model.log_prob([SUM], [ids])
    with pytest.raises(InputError, match="one prompt for each completion; found 1 and 2"):
        model.log_prob([SUM], [(2,), (2,)])
    with pytest.raises(InputError, match="each of the 1 prompts; found 2"):
        model.sample([SUM], 1, np.random.default_rng(0).spawn(2))


def test_a_model_is_used_where_an_event_loop_runs():
    async def work():
        return finished(lambda: asyncio.sleep(0, "done"))

    assert asyncio.run(work()) == finished(lambda: asyncio.sleep(0, "done")) == "done"
