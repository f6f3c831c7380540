"""What a call may end in: an answer, or one error with a sentence. Everything else is a failure of the package."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import locale
import math
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from alignment import InputError

PATIENCE = 60.0  # seconds: a hundred times what the slowest call takes on an idle machine
COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


def scene(height: int = 64, width: int = 72, dx: float = 0.0, dy: float = 0.0) -> np.ndarray:
    """Return a smooth picture without repetition in [0.05, 0.95], its content dx to the right and dy further down."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = x - dx, y - dy
    draw = np.random.default_rng(7)
    total = np.zeros_like(x)
    for _ in range(40):
        across, down = draw.uniform(-4, width + 4), draw.uniform(-4, height + 4)
        size, level = draw.uniform(1.6, 5.0), draw.uniform(-1.0, 1.0)
        total += level * np.exp(-((x - across) ** 2 + (y - down) ** 2) / (2 * size**2))
    return 0.5 + 0.45 * np.tanh(total)


def digest(value: Any) -> str:
    """Return the hash of an array's bytes, type and layout, or of the text of anything else."""
    if isinstance(value, np.ma.MaskedArray):
        return digest(np.asarray(value.data)) + digest(np.ma.getmaskarray(value))
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"{content} {value.dtype} {value.shape} {value.strides} {value.flags.writeable}"
    return repr(value)


def surroundings() -> tuple[Any, ...]:
    """Return what belongs to everybody in the process and must be left as it was."""
    backend = sys.modules["matplotlib"].rcParams._get_backend_or_none() if "matplotlib" in sys.modules else None
    return (
        tuple(sorted(np.geterr().items())),
        [str(one) for one in warnings.filters],
        locale.setlocale(locale.LC_ALL),
        hash(np.random.get_state()[1].tobytes()),  # noqa: NPY002
        hash(random.getstate()),
        backend,
        os.getcwd(),
        sys.getrecursionlimit(),
    )


def check_sentence(text: str) -> None:
    """Assert that a message is one sentence that says what is wrong and what would be right."""
    assert "\n" not in text, f"not one line: {text!r}"
    assert "Traceback" not in text
    assert "internal error" not in text
    assert 20 <= len(text) <= 600, f"{len(text)} characters: {text!r}"
    assert ";" in text, f"says what is wrong, but not what would be right: {text!r}"


class HungError(BaseException):
    """A call took longer than anything it was given can justify."""


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer, where the system has an alarm clock."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(number: int, frame: Any) -> None:
        raise HungError(f"still busy after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(call: Callable[[], Any], inputs: Iterable[Any] = ()) -> tuple[str, Any]:
    """Make a call; return ("answer", what it returned) or ("refused", the sentence).

    Asserts that nothing but an `InputError` was raised, that its message is a sentence, that the inputs are what
    they were, bit for bit, and that nothing that belongs to everybody has changed. A warning is an error in this suite.
    """
    watched = list(inputs)
    before = [digest(one) for one in watched]
    around = surroundings()
    try:
        with patience(PATIENCE):
            answer = call()
    except InputError as error:
        check_sentence(str(error))
        result = ("refused", str(error))
    else:
        result = ("answer", answer)
    assert [digest(one) for one in watched] == before, "an input was changed"
    after = surroundings()
    assert (after[:5], after[6:]) == (around[:5], around[6:]), "something that belongs to everybody was changed"
    assert around[5] is None or after[5] == around[5], "the backend of matplotlib was changed"
    return result


def not_finite(value: Any, name: str = "answer") -> list[str]:
    """Return the places inside an answer that hold NaN or infinity."""
    if isinstance(value, float | np.floating):
        return [] if math.isfinite(value) else [name]
    if isinstance(value, np.ndarray):
        return [] if value.dtype.kind not in "fc" or np.isfinite(value).all() else [name]
    if isinstance(value, Mapping):
        return [place for key, one in value.items() for place in not_finite(one, f"{name}.{key}")]
    if isinstance(value, list | tuple):
        return [place for i, one in enumerate(value) for place in not_finite(one, f"{name}[{i}]")]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return not_finite({f.name: getattr(value, f.name) for f in dataclasses.fields(value)}, name)
    return []
