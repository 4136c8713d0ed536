"""tiltz rollout through transformers, killed and resumed."""

import time

import duckdb
import pytest

from tiltz.lm.load import EMBEDDED


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_end(tiltz, killed, tmp_path):
    prompts = "".join(
        f"what is {a} plus {b} ? ->\n" for a in ("two", "three") for b in ("four", "five", "six")
    )
    (tmp_path / "prompts.txt").write_text(prompts, encoding="utf-8")
    (tmp_path / "rewards.py").write_text(
        "def words(prompts, completions, **columns):\n    return [len(text.split()) / 24 for text in completions]\n",
        encoding="utf-8",
    )
    command = [
        "rollout", "prompts.txt", "-m", f"hf:{EMBEDDED / 'reference'}", "--reward", "rewards.py:words",
        "-n", 400, "--batch-prompts", 1, "--max-tokens", 24,
    ]  # fmt: skip
    tiltz(*command, "-o", "whole")

    def shards():
        return list((tmp_path / "killed").glob("part-*.parquet"))

    for n_shards in (1, 2, 4):

        def so_many(process, n_shards=n_shards):
            while process.poll() is None and len(shards()) < n_shards:
                time.sleep(0.01)

        killed(*command, "-o", "killed", when=so_many)
        assert n_shards <= len(shards()) < 6
    assert "were there" in tiltz(*command, "-o", "killed").out
    written = [
        duckdb.sql(f"SELECT * EXCLUDE log_ref, log_ref FROM '{tmp_path}/{name}/part-*.parquet'").fetchall()
        for name in ("killed", "whole")
    ]
    assert len(written[0]) == len(written[1]) == 2400
    assert [row[:-1] for row in written[0]] == [row[:-1] for row in written[1]]
    assert max(abs(a[-1] - b[-1]) for a, b in zip(*written, strict=True)) < 1e-5
