"""How a command ends that cannot do what was asked: a paragraph, an exit code, and no file left half written."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import click

from tiltz.errors import TiltzError
from tiltz.text import paragraph

FAILED, REFUSED, SIGNALLED = 1, 2, 128


def exit_code(run: Callable[[], object]) -> int:
    """Run a command and return 0, or say why not: 2 if it was refused, 1 if it failed, 128 + n after signal n."""
    received = _interrupting_signals()
    for stream in (sys.stdout, sys.stderr):
        # A prompt may hold characters that a terminal's encoding lacks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return _exit_code(run, received)
    except OSError as reason:
        with suppress(OSError):
            if reason.errno != errno.EPIPE:
                # The library names the files of its errors; one without a name is of a standard stream.
                what = "the output cannot be written" if reason.filename is None else repr(reason.filename)
                _say(f"{what}: {reason.strerror or reason}.")
        _abandon_streams()
        return FAILED


def _exit_code(run: Callable[[], object], received: list[int]) -> int:
    try:
        ended = run()
    except click.ClickException as refusal:
        refusal.show()
        return refusal.exit_code
    except TiltzError as refusal:
        _say(str(refusal))
        return REFUSED
    except MemoryError as reason:
        _say(f"there is not enough memory: {reason or 'none is left'}. Choose fewer prompts, betas or draws.")
        return FAILED
    except (click.Abort, KeyboardInterrupt):
        click.echo("Aborted!", err=True)
        return SIGNALLED + received[-1]
    return ended if isinstance(ended, int) else 0  # click returns the code of its Exit


def _say(reason: str) -> None:
    click.echo("\n".join(paragraph(f"Error: {reason}")), err=True)


def _interrupting_signals() -> list[int]:
    """Let signals that end a program do so as Ctrl-C does, so that it tidies up; return a growing list of them."""
    received: list[int] = [signal.SIGINT]

    def interrupt(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupt)
    return received


def _abandon_streams() -> None:
    """Send to nowhere what is left to be written, which the interpreter would try again, and complain, at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())
