"""What must work with the base dependencies only.

These tests also run in a second environment that holds nothing but the built wheel and pytest (``make minimal``), so
they import nothing else, and what they miss there is missing in the wheel.
"""

import importlib.resources
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import tiltz
from tiltz.errors import MissingExtraError
from tiltz.testbeds import DEMO_FILE

TILTZ = Path(sysconfig.get_path("scripts")) / "tiltz"


def run(*arguments: str | Path) -> str:
    done = subprocess.run([TILTZ, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_is_what_is_tested(request: pytest.FixtureRequest):
    if request.config.getoption("--minimal"):
        assert Path(tiltz.__file__).is_relative_to(sys.prefix)
    assert importlib.resources.files("tiltz").joinpath("py.typed").is_file()


def test_demo(tmp_path: Path):
    assert "log Z" in run("demo", "--prompts", "5", "-n", "4", "-o", tmp_path / "demo")


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_estimate_from_and_to_each_format(suffix: str, tmp_path: Path):
    result = tmp_path / f"result{suffix}"
    report = json.loads(run("estimate", DEMO_FILE, "--beta", "0.5", "--json", "--output", result))
    assert len(report["rows"]) == len(tiltz.estimate(tiltz.read(DEMO_FILE), 0.5).log_z)
    assert result.stat().st_size > 0


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_samples_can_be_read_again(suffix: str, tmp_path: Path):
    tilted = tmp_path / f"tilted{suffix}"
    run("sample", DEMO_FILE, "--beta", "0.5", "-n", "4", "-o", tilted)
    # Rows of the tilted policy are no draws from the reference, so reading them as such has to be asked for.
    again = tiltz.read(tilted, drawn_from="reference")
    assert set(again.prompt) == set(tiltz.read(DEMO_FILE).prompt)


def test_sweep():
    assert "beta" in run("sweep", DEMO_FILE, "--betas", "0.1:10:3")


@pytest.mark.parametrize(("package", "extra"), [("pandas", "pandas"), ("pyarrow", "arrow")])
def test_a_missing_extra_names_the_command_that_installs_it(
    package: str, extra: str, monkeypatch: pytest.MonkeyPatch
):
    estimate = tiltz.estimate(tiltz.Outcomes.complete(np.log([0.6, 0.4]), [2.0, 1.0]), 1.0)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"tiltz\[{extra}\]"):
        estimate.to_pandas() if package == "pandas" else estimate.to_arrow()


def test_the_embedded_model_needs_no_extra(request: pytest.FixtureRequest):
    from tiltz import lm

    drawn = lm.load("tiny").sample(["what is two plus two ? ->"], 4, np.random.default_rng(0))[0]
    assert all(-100 < completion.log_prob < 0 for completion in drawn)
    if request.config.getoption("--minimal"):
        assert "torch" not in sys.modules
        with pytest.raises(MissingExtraError, match=r"pip install 'tiltz\[hf\]'"):
            lm.load("hf:anything")
