"""How commands end that are stopped, or whose output goes nowhere; and how text survives a terminal's encoding."""

import json
import os
import signal
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest

from tiltz.testbeds import DEMO_FILE

TILTZ = Path(sysconfig.get_path("scripts")) / "tiltz"


def start(folder, *words):
    return subprocess.Popen(
        [TILTZ, *map(str, words)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def shell(folder, line):
    path = os.pathsep.join([str(TILTZ.parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return found


def open_for_writing(pipe):
    """Return the writing end of a pipe once somebody reads from it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_command_without_a_traceback(tmp_path, number, code):
    os.mkfifo(tmp_path / "never.jsonl")
    running = start(tmp_path, "estimate", "never.jsonl", "--beta", 1)
    end = wait_for(lambda: open_for_writing(tmp_path / "never.jsonl"))
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    os.close(end)
    assert running.returncode == code
    assert (out, err.strip()) == ("", "Aborted!")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_a_file_is_written_leaves_none_behind(tmp_path, number, code):
    running = start(tmp_path, "sample", DEMO_FILE, "--beta", 0.1, "-n", 4000, "-o", "tilted.jsonl")
    wait_for(lambda: list(tmp_path.iterdir()))
    running.send_signal(number)
    _, err = running.communicate(timeout=120)
    assert running.returncode == code
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """As under nohup."""
    after = "exit_code(int); print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    code = f"import signal; from tiltz.cli.endings import exit_code; {after}"
    assert shell(tmp_path, f"trap '' HUP; python -c '{code}'").stdout == "True\n"


COMMANDS = [
    "tiltz --help",
    "tiltz --version",
    "tiltz completion bash",
    "tiltz estimate d.parquet --beta 1 --rows 0",
    "tiltz estimate d.parquet --beta 1 --json",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_device_gets_one_paragraph(tmp_path, command):
    (tmp_path / "d.parquet").write_bytes(DEMO_FILE.read_bytes())
    done = shell(tmp_path, f"{command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "Error: the output cannot be written: No space left on device.\n"


def test_a_full_device_for_messages_too(tmp_path):
    assert shell(tmp_path, "tiltz --help > /dev/full 2> /dev/full").returncode == 1
    assert shell(tmp_path, "tiltz estimate absent.csv --beta 1 2> /dev/full").returncode == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_pipe_is_quiet(tmp_path, command):
    (tmp_path / "d.parquet").write_bytes(DEMO_FILE.read_bytes())
    assert shell(tmp_path, f"{command} | true").stderr == ""


def test_no_standard_output_at_all(tmp_path):
    done = shell(tmp_path, "tiltz completion bash >&-")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "cp1252"])
def test_json_loses_no_text_in_any_encoding(tiltz, tmp_path, encoding):
    label = "\u6f22\u5b57 \N{GRINNING FACE} \u00e9"
    (tmp_path / "r.jsonl").write_text(json.dumps({"prompt": label, "reward": 1}) + "\n")
    done = tiltz("estimate", "r.jsonl", "--beta", 1, "--json", PYTHONIOENCODING=encoding)
    assert done.json()["rows"][0]["prompt"] == label


def test_text_in_a_small_encoding_is_no_traceback(tiltz, tmp_path):
    (tmp_path / "r.jsonl").write_text(json.dumps({"prompt": "\u6f22\u5b57 \u00e9 one", "reward": 1}) + "\n")
    done = subprocess.run(
        [TILTZ, "estimate", "r.jsonl", "--beta", "1"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert done.returncode == 0
    assert "?? \u00e9 one" in done.stdout.decode("latin-1")
