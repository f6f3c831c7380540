"""Silence while libraries decode: what they warn of and log about a file is not heard."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Final


class _QuietDecoders:
    """Silence the warnings and log records of pillow and tifffile while any thread is decoding.

    What they have to say about a file comes out as an error with a sentence, or does not matter. The filters are
    global, so they are set by the first thread to enter and restored by the last to leave.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._stack.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"(PIL|tifffile|imageio)(\.|$)")
                for name in ("PIL", "tifffile", "imageio"):
                    self._stack.enter_context(_muted(logging.getLogger(name)))

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._stack.close()


@contextlib.contextmanager
def _muted(logger: logging.Logger) -> Iterator[None]:
    """Let no record of a logger through."""

    def deny(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(deny)
    try:
        yield
    finally:
        logger.removeFilter(deny)


quiet_decoders: Final = _QuietDecoders()
"""Enter it wherever pillow, tifffile or imageio work on a file."""
