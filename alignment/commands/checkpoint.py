"""What an interrupted run over a stack has found so far, in a file beside what it was to write."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..ledger import Ledger

FORMAT: Final = "alignment-stack-partial-1"
ENDING: Final = ".partial"

Span = tuple[int, int]


class Checkpoint:
    """A file of finished pieces: a line that says of what, then a line for each piece.

    Lines are only ever added. Whoever is stopped in the middle of one leaves a half, which is cut off by the next run.

    Parameters
    ----------
    target : str
        What the run writes in the end; the file lies beside it.
    key : str
        What the pieces depend on, see `key_of`: those of another key are of no use.
    spans : sequence of (int, int)
        The first frame of each piece, and the one after its last.
    """

    def __init__(self, target: str, key: str, spans: Sequence[Span]) -> None:
        self.path = target + ENDING
        self._head = {"format": FORMAT, "key": key}
        self._spans = set(spans)
        self._good = 0  # bytes of lines that can be read
        self._ours = False  # whether the file, if there is one, is this run's
        self.kept = 0  # pieces in the file
        self.frames = 0  # in these
        self._usable = len(spans) > 1  # one piece is finished or it is not

    def read(self) -> dict[Span, Ledger]:
        """Return what an earlier run with the same key has found.

        Raises
        ------
        InputError
            If a file of that name is there which no such run has left.
        """
        from .._checks import InputError

        found: dict[Span, Ledger] = {}
        if not self._usable or not os.path.lexists(self.path):
            return found
        try:
            with open(self.path, "rb") as file:
                head = _parsed(file.readline())
                if head.get("format") != FORMAT:
                    raise InputError(
                        f"{self.path} is there, which no interrupted run has left; move it, or give another name"
                    )
                if head != self._head:  # of other frames or options: begun anew when there is something to keep
                    return found
                self._good, self._ours = file.tell(), True
                for line in file:
                    piece = self._piece(line)
                    if piece is None:
                        break
                    found[piece[0]] = piece[1]
                    self.frames += piece[0][1] - piece[0][0]
                    self._good += len(line)
        except OSError as error:
            raise InputError(f"{self.path} cannot be read ({error.strerror}); move it, or give another name") from error
        self.kept = len(found)
        return found

    def add(self, span: Span, ledger: Ledger) -> None:
        """Keep what was found of a piece; a disk that is full is no reason to stop."""
        if not self._usable:
            return
        lines = [] if self._good else [self._head]
        text = "".join(json.dumps(line) + "\n" for line in [*lines, {"span": span, "ledger": ledger.to_dict()}])
        try:
            with open(self.path, "r+b" if os.path.lexists(self.path) else "xb") as file:
                self._ours = True
                file.truncate(self._good)
                file.seek(self._good)
                file.write(text.encode())
                self._good = file.tell()
        except OSError:
            self._usable = False
            self.remove()
        else:
            self.kept += 1
            self.frames += span[1] - span[0]

    def remove(self) -> None:
        """Remove the file, if it is this run's."""
        if self._ours:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        self._good, self._ours, self.kept, self.frames = 0, False, 0, 0

    def _piece(self, line: bytes) -> tuple[Span, Ledger] | None:
        """Read a line; None for one that cannot be read, and then nor can those after it."""
        from ..ledger import Ledger

        try:
            data = json.loads(line)
            span, ledger = (int(data["span"][0]), int(data["span"][1])), Ledger.from_dict(data["ledger"])
        except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
            return None
        whole = line.endswith(b"\n") and span in self._spans and len(ledger.status) == span[1] - span[0]
        return (span, ledger) if whole else None


def key_of(files: Iterable[str], asked: dict[str, Any]) -> str:
    """Return what tells a run from every other: the state of its files, what was asked, and the version.

    Raises
    ------
    OSError
        If a file is not there.
    """
    from .. import __version__

    total = hashlib.sha256(json.dumps([__version__, asked], sort_keys=True).encode())
    for name in files:
        status = os.stat(name)
        total.update(json.dumps([os.path.abspath(name), status.st_size, status.st_mtime_ns]).encode())
    return total.hexdigest()


def _parsed(line: bytes) -> dict[str, Any]:
    """Return a line of JSON; nothing for any other."""
    with contextlib.suppress(ValueError, RecursionError):
        data = json.loads(line)
        if isinstance(data, dict):
            return data
    return {}
