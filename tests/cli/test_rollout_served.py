"""tiltz rollout from a model behind a server: killed at any moment it goes on to the same rows."""

import json
import random
import time
from collections import Counter

import duckdb

from tests.unit.lm.llama_server import llama_server as llama_server

N, N_KILLS = 10, 5
PROMPTS = [f" what is {a} plus {b} ? ->" for a in ("two", "three", "four") for b in ("five", "six", "seven")]
REWARD = "def words(completions, **columns):\n    return [float(len(text.split())) for text in completions]\n"


def test_killed_at_any_moment_it_goes_on_to_the_same_rows(tiltz, killed, tmp_path, llama_server):
    (tmp_path / "rewards.py").write_text(REWARD, encoding="utf-8")
    rows = [{"prompt_id": f"p{i}", "prompt": prompt} for i, prompt in enumerate(PROMPTS)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    command = [
        "rollout", "prompts.jsonl", "-m", f"openai:{llama_server}#reference", "--reward", "rewards.py:words", "-n", N,
        "--batch-prompts", 1, "--max-tokens", 24,
    ]  # fmt: skip
    begun = time.monotonic()
    assert tiltz(*command, "-o", "whole", "--json").json()["n_new"] == N * len(PROMPTS)
    seconds = time.monotonic() - begun
    rng = random.Random(0)
    for _ in range(N_KILLS):
        killed(*command, "-o", "killed", when=lambda process: time.sleep(rng.uniform(0.4, 0.7) * seconds))
    before = len(keys(tmp_path / "killed"))
    done = tiltz(*command, "-o", "killed", "--json").json()
    assert done["n_rows"] == before + done["n_new"] == N * len(PROMPTS)
    assert before > 0
    assert Counter(keys(tmp_path / "killed")) == Counter(keys(tmp_path / "whole"))
    assert set(Counter(keys(tmp_path / "killed")).values()) == {N}


def keys(folder):
    if not list(folder.glob("part-*.parquet")):
        return []
    found = duckdb.sql(f"SELECT prompt_id, prompt FROM '{folder}/part-*.parquet'")
    return found.fetchall()
