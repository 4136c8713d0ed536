"""Files of rollouts in every layout, small enough to check by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tiltz.files import write_columns

TRL_RUN = Path(__file__).parents[2] / "data" / "trl_grpo_string"


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Write objects as JSON lines and return the path."""

    def write(rows: Iterable[Any], name: str = "rollouts.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    """Write columns as Parquet and return the path."""

    def write(columns: dict[str, Any], name: str = "rollouts.parquet", **options: Any) -> Path:
        write_columns(columns, tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.fixture
def trl_run(tmp_path: Path) -> Path:
    """Return a copy of the folder of a real TRL run that a test may change."""
    return Path(shutil.copytree(TRL_RUN, tmp_path / "run"))
