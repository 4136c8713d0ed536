"""What a shell is told where a word is completed."""

import pytest


def completed(tiltz, shell, *words):
    """Return what is offered for the last word."""
    line = {"COMP_WORDS": " ".join(["tiltz", *words]), "COMP_CWORD": str(len(words))}
    if shell == "fish":
        line["COMP_CWORD"] = words[-1]
    return tiltz(_TILTZ_COMPLETE=f"{shell}_complete", **line).out.split("\n")


@pytest.mark.parametrize("command", ["estimate", "sweep", "check-z", "sample"])
@pytest.mark.parametrize(("shell", "file"), [("bash", "file,"), ("zsh", "file"), ("fish", "file,")])
def test_files_are_completed_by_the_shell(tiltz, command, shell, file):
    assert completed(tiltz, shell, command, "rol")[0].startswith(file)
    assert completed(tiltz, shell, command, "a.parquet", "b")[0].startswith(file)
    assert completed(tiltz, shell, command, "a.parquet", "--output", "ta")[0].startswith(file)


def test_other_paths_are_completed_by_the_shell(tiltz):
    assert completed(tiltz, "bash", "sweep", "a.parquet", "--plot", "c")[0].startswith("file,")
    assert completed(tiltz, "bash", "demo", "--output", "d")[0].startswith("dir,")


def test_commands_and_choices_are_completed(tiltz):
    assert completed(tiltz, "bash", "es")[0] == "plain,estimate"
    assert "plain,policy" in completed(tiltz, "bash", "estimate", "a.csv", "--drawn-from", "po")
