"""What a command says, to whom, how long it took, and the codes it ends with."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OK, FAILED, USAGE, UNCONVERGED, INTERRUPTED = 0, 1, 2, 3, 130
STARTING, KERNELS = "interpreter and imports", "loading the kernels"  # stages of the stopwatch


class UsageError(Exception):
    """A command line that makes no sense; the message says what would."""


@dataclass
class Session:
    """What is said to whom: results on stdout, messages on stderr."""

    args: argparse.Namespace
    clock: Stopwatch
    _bar: Any = field(default=None)

    def say(self, text: str) -> None:
        """Print a result for people, unless they asked for JSON or for quiet."""
        if not (self.args.json or self.args.quiet):
            self._write(text, sys.stdout)

    def json(self, value: Any) -> None:
        """Print the result for programs, if asked to."""
        if self.args.json:
            self._write(json.dumps(plain(value), indent=2, allow_nan=False), sys.stdout)

    def note(self, text: str) -> None:
        """Print a message."""
        self._write(text, sys.stderr)

    def complain(self, error: Exception, source: str | None = None) -> str:
        """Print an error as one sentence, its traceback only with -vv, and return the sentence."""
        sentence = sentence_of(error)
        if source is not None:
            from .._checks import one_line

            if one_line(source) not in sentence:
                sentence = f"{one_line(source)}: {sentence}"
        if self.args.verbose > 1:
            self.note("".join(traceback.format_exception(error)).rstrip())
        self.note(f"alignment: error: {sentence}")
        return sentence

    def progress(self, jobs: Sequence[Any], unit: str) -> Iterable[Any]:
        """Go through the jobs behind a bar on stderr, if there are several and someone is watching."""
        if len(jobs) < 2:
            return jobs
        from tqdm import tqdm

        self._bar = tqdm(jobs, unit=unit, leave=False, file=sys.stderr, disable=True if self.args.quiet else None)
        bar: Iterable[Any] = self._bar
        return bar

    @contextlib.contextmanager
    def bar(self, total: int, unit: str) -> Iterator[Bar]:
        """Show on stderr how far the work is while the block runs, if someone is watching; also for one piece of work.

        Ask for it before the heavy imports: then something is seen at once.
        """
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            unit=unit,
            leave=False,
            file=sys.stderr,
            disable=True if self.args.quiet else None,
            bar_format="{desc}{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
            dynamic_ncols=True,
        )
        try:
            yield Bar(self._bar)
        finally:
            self._bar.close()
            self._bar = None

    def _write(self, text: str, file: Any) -> None:
        """Print, around the bar if there is one."""
        if self._bar is None:
            print(text, file=file)
        else:
            self._bar.write(text, file=file)


@dataclass(frozen=True)
class Bar:
    """A bar that says what is being done."""

    _bar: Any

    def stage(self, text: str) -> None:
        """Say what is being done now."""
        self._bar.set_postfix_str(text)

    def advance(self) -> None:
        """Count one piece of work as done."""
        self._bar.update()


class Stopwatch:
    """Wall time by stage.

    Parameters
    ----------
    age : float
        Seconds that the process had run when the watch was made.
    """

    def __init__(self, age: float = 0.0) -> None:
        self._begun = time.perf_counter() - age
        self._stages = {STARTING: age}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - begun)

    def add(self, name: str, seconds: float) -> None:
        """Add time that has been measured elsewhere to a stage."""
        self._stages[name] = self._stages.get(name, 0.0) + seconds

    def stages(self) -> dict[str, float]:
        """Return the seconds of each stage so far."""
        return dict(self._stages)

    def table(self) -> str:
        """Return seconds and share of each stage."""
        total = time.perf_counter() - self._begun
        rest = max(total - sum(self._stages.values()), 0.0)
        rows = [*self._stages.items(), ("everything else", rest), ("wall time", total)]
        return "\n".join(f"{name:24} {seconds:8.3f} s  {seconds / total:4.0%}" for name, seconds in rows)


def process_age() -> float:
    """Return the seconds since this process was started, where the system tells (to 0.01 s), otherwise 0."""
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # the twenty-second field: ticks since boot
        return max(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 0.0)
    except (OSError, AttributeError, IndexError, ValueError):
        return 0.0


def sentence_of(error: BaseException) -> str:
    """Say an error in one sentence: what the package or the system reports, or that it is a defect of ours."""
    from .._checks import InputError

    if isinstance(error, InputError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "the memory of this machine does not suffice; close other programs or give a smaller image"
    elif isinstance(error, OSError):
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        text = (
            f"{error.filename}: {reason}; check the path"
            if error.filename
            else f"{reason}; check the disk and the path"
        )
    else:
        text = (
            f"internal error, {type(error).__name__}: {error}; this is a defect of alignment, "
            "run again with -vv and report what it prints"
        )
    return " ".join(text.split()).removesuffix(".")


def plain(value: Any) -> Any:
    """Turn a value into what JSON knows; a number that is not finite becomes null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
