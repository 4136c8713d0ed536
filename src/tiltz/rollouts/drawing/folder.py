"""The folder of a run: what is drawn in it, who is writing to it, and which shards are there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiltz.errors import FileError, InputError
from tiltz.files import json_ready, open_table
from tiltz.files.names import kind_of
from tiltz.files.table import FILE
from tiltz.rollouts.drawing.shard import Tally, tally_of

_MANIFEST = "rollout.json"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where the shards of one run go.

    Attributes
    ----------
    path : Path
        The folder.
    """

    path: Path

    def shard(self, i: int) -> Path:
        """Return the name of the i-th shard."""
        return self.path / f"part-{i:05d}.parquet"

    @contextmanager
    def claimed(self, manifest: Mapping[str, Any]) -> Iterator[None]:
        """Keep other runs out, and refuse a folder in which something else is."""
        with ExitStack() as held:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                held.enter_context(_locked(self.path))
                self._tidy()
                self._agree(json.loads(json.dumps(json_ready(manifest))))
            except (OSError, UnicodeDecodeError, json.JSONDecodeError) as reason:
                detail = getattr(reason, "strerror", None) or reason
                raise FileError(f"the folder {str(self.path)!r} cannot be used: {detail}.") from reason
            yield

    def tallies(self, paths: list[Path]) -> list[Tally]:
        """Return what each of some shards holds."""
        if not paths:
            return []
        table = open_table([str(path) for path in paths])
        rows = dict(table.query(f"SELECT {FILE}, count(*) FROM {table.relation} GROUP BY ALL"))
        return [tally_of(rows[i], told) for i, told in enumerate(table.metadata)]

    def _tidy(self) -> None:
        """Remove what a run left that was killed while it wrote."""
        for left in (*self.path.glob(".part-*.part"), *self.path.glob(f"{_MANIFEST}.partial")):
            left.unlink()

    def _agree(self, wanted: dict[str, Any]) -> None:
        place = self.path / _MANIFEST
        begun = next(self.path.glob("part-*.parquet"), None) is not None
        if not place.exists():
            self._refuse_other_files()
        if not begun:  # with nothing drawn yet, what was wanted may change
            _write_whole(place, json.dumps(wanted, indent=1, ensure_ascii=False))
        found = json.loads(place.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise FileError(f"{str(place)!r} must say which run the folder holds; found {found!r:.80}.")
        other = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
        if other:
            other.sort(key=lambda name: name == "batch_prompts")  # which may only follow from the others
            raise InputError(
                f"a folder holds one run; {str(self.path)!r} was begun with another {', '.join(other)}: "
                f"{found.get(other[0])!r:.120}, now {wanted.get(other[0])!r:.120}. Choose another folder."
            )

    def _refuse_other_files(self) -> None:
        """Refuse a folder whose files would be read together with the rollouts."""
        names = sorted(path.name for path in self.path.iterdir() if not path.name.startswith("."))
        data = [name for name in names if kind_of(name) and not name.lower().endswith(".json")]
        if data:
            raise InputError(
                f"rollouts must have a folder of their own, which is read as a whole; {str(self.path)!r} holds "
                f"{data[0]!r} of something else. Choose another folder."
            )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, where the system and the disk know such locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as reason:
            raise InputError(
                f"a folder takes one run at a time; another one is writing to {str(folder)!r} now. Wait for its "
                "end, or choose another folder."
            ) from reason
        except OSError:
            pass  # some network disks know no locks
        yield
    finally:
        os.close(place)


def _write_whole(path: Path, text: str) -> None:
    """Write a small file that appears under its name when it is whole."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
