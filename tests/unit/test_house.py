"""The rules of the house that no linter knows: what is public, what an import costs, what may stand in a file."""

import ast
import importlib.metadata
import importlib.resources
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tiltz

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tiltz"
IMPORT_SECONDS = 0.4
MODULE_LINES = 500
HEAVY = {
    "torch", "transformers", "ray", "altair", "matplotlib", "pandas", "pyarrow", "polars", "numba", "duckdb",
    "click", "rich", "vl_convert",
}  # fmt: skip

# In pieces, so that this file passes its own test.
PLACES = ["/" + word for word in ("work/", "root/", "home/", "Users/", "opt/", "tmp/plan")]
REGISTRIES = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.", "index" + "-url", "find" + "-links"]


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def tracked_files() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive
        kept = ("src", "tests", "docs", "benchmarks")
        return [
            file for folder in kept for file in (ROOT / folder).rglob("*") if "__pycache__" not in file.parts
        ]
    return [ROOT / name for name in names.split("\0") if name]


def test_public_names_are_sorted_and_explicit():
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    bound = {name.asname or name.name for node in imports for name in node.names}
    public = {name for name in bound if not name.startswith("_")} - {"TYPE_CHECKING"}
    assert set(tiltz.__all__) == public
    assert list(tiltz.__all__) == sorted(tiltz.__all__)
    assert len(tiltz.__all__) == len(public)


def test_public_names_resolve():
    assert all(getattr(tiltz, name) is not None for name in tiltz.__all__)


def test_import_loads_nothing_heavy():
    loaded = set(
        python("import sys, tiltz; print(*{name.partition('.')[0] for name in sys.modules})").split()
    )
    assert "tiltz" in loaded
    assert loaded & HEAVY == set()


def test_import_is_fast():
    """Processor seconds in new processes, after the interpreter has started; on a busy machine others take the rest."""
    code = "from time import process_time as now; start = now(); import tiltz; print(now() - start)"
    seconds = []
    while len(seconds) < 10 and not (seconds and min(seconds) < IMPORT_SECONDS):
        seconds.append(float(python(code)))
    assert min(seconds) < IMPORT_SECONDS, f"import tiltz took {', '.join(f'{s:.2f}' for s in seconds)} s"


def test_no_private_place_or_registry_is_named():
    found = []
    for file in tracked_files():
        if not file.is_file() or (content := file.read_bytes()).startswith(b"PAR1") or b"\0" in content:
            continue
        text = content.decode("utf-8", errors="replace")
        found += [f"{file.relative_to(ROOT)}: {word}" for word in PLACES + REGISTRIES if word in text]
    assert not found


def test_constraints_are_exact_and_sorted():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    assert lines == sorted(lines, key=str.lower)


def test_type_information_is_shipped():
    assert importlib.resources.files("tiltz").joinpath("py.typed").is_file()


def test_version_has_one_source():
    installed = importlib.metadata.version("tiltz")
    assert tiltz.__version__ == installed, (
        "the installed copy is of another version: touch pyproject.toml and make again"
    )
    newest = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == tiltz.__version__
    assert not re.search(
        r"^version\s*=\s*\"", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_rooms_are_small(file: Path):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MODULE_LINES
