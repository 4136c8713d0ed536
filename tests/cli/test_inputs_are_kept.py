"""No command writes to a file that it reads."""

import os

import pytest


@pytest.fixture
def kept(tmp_path):
    """A folder of rollouts, a link and a second name for one of them, and a check that all are as they were."""
    rows = '{"prompt": "a", "reward": 0}\n{"prompt": "a", "reward": 1}\n'
    (tmp_path / "run").mkdir()
    for name in ("1.jsonl", "2.jsonl"):
        (tmp_path / "run" / name).write_text(rows)
    (tmp_path / "rows.json").write_text(rows)
    os.symlink("run/1.jsonl", tmp_path / "link.jsonl")
    os.link(tmp_path / "run" / "2.jsonl", tmp_path / "second.jsonl")

    def contents():
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = contents()
    yield
    assert contents() == before


@pytest.mark.parametrize("command", [["estimate"], ["sweep"], ["sample"]])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("run/1.jsonl", "run/1.jsonl"),
        ("run", "./run/../run/2.jsonl"),
        ("run/*.jsonl", "link.jsonl"),
        ("run", "second.jsonl"),
        ("link.jsonl", "run/1.jsonl"),
    ],
)
@pytest.mark.usefixtures("kept")
def test_output_onto_an_input_is_refused(tiltz, command, source, target):
    done = tiltz(*command, source, "--beta", 1, "-o", target, code=2)
    assert "results must go to another file than the rollouts" in " ".join(done.err.split())
    assert done.out == ""


@pytest.mark.usefixtures("kept")
def test_a_picture_onto_an_input_is_refused(tiltz):
    done = tiltz("sweep", "rows.json", "--betas", 1, "--plot", "rows.json", code=2)
    assert "another file than the rollouts" in " ".join(done.err.split())


@pytest.mark.usefixtures("kept")
def test_another_file_in_the_folder_of_the_rollouts_is_written(tiltz, tmp_path):
    tiltz("estimate", "run/1.jsonl", "--beta", 1, "-o", "run/3.csv")
    (tmp_path / "run" / "3.csv").unlink()
