import json
import os
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TILTZ = Path(sysconfig.get_path("scripts")) / "tiltz"


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def tiltz(tmp_path: Path) -> Callable[..., Done]:
    """Run the installed command in an empty folder; keywords are variables of its environment."""

    def run(*words: object, code: int = 0, **environment: str) -> Done:
        done = subprocess.run(
            [TILTZ, *map(str, words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "100", **environment},
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def killed(tmp_path: Path) -> Callable[..., None]:
    """Start the installed command in the same folder, and kill it once ``when``, given the process, returns."""

    def run(*words: object, when: Callable[[Any], None]) -> None:
        process = subprocess.Popen(
            [TILTZ, *map(str, words)], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        when(process)
        process.kill()
        process.wait()

    return run


@pytest.fixture
def rollouts(tmp_path: Path) -> Path:
    """Three prompts with 8, 8 and 4 rollouts, interleaved."""
    rows = [{"prompt": f"p{i % 2}", "completion": f"c{i}", "reward": float(i % 4 == 1)} for i in range(16)]
    rows += [{"prompt": "p2 \x1b[31m[red]", "completion": "d", "reward": 0.0} for _ in range(4)]
    path = tmp_path / "rollouts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
