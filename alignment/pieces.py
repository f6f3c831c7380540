"""A stack in pieces: runs of frames that are registered apart from one another, by whoever is at hand.

All frames of a stack that is laid on one image have that image in common and nothing else, so that runs of them can be
registered at the same time, see `alignment.batch`. The image is made first, here; what is known of each run is put
together in the end, and judged as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import ArrayLike

from . import _checks
from ._checks import InputError
from .frames import Frames, frames_of
from .ledger import Ledger, Plan
from .stacks import TO, StackRegistration, aim, concluded, planned, silent, track
from .template import Template

# frames of a piece: enough that to begin with a search costs little
LENGTH = 2000


@dataclass(frozen=True)
class Work:
    """What is done with a piece: call it with the numbers of its first frame and of the one after its last."""

    source: Frames
    template: Template
    known: int | None
    plan: Plan

    def __call__(self, span: tuple[int, int]) -> Ledger:
        """Register a run of frames."""
        frames = self.source.pick(range(*span))
        ledger = track(frames, self.source, self.template.fresh(), self.known, self.plan, span[0])
        ledger.settle()
        return ledger


class Pieces:
    """A stack cut into runs of frames.

    Parameters
    ----------
    frames : optional
        In any form that `register_stack` takes. What travels to other machines are paths of files, or else all of it.
    to : {"first", "mean"}, int or array_like of shape (H, W)
        What frames are laid on.
    length : int
        Frames of a piece.
    **options
        Those of `register_stack`.

    Attributes
    ----------
    spans : list of (int, int)
        The number of the first frame of each piece, and of the one after its last.
    work : Work
        What is done with a piece, by whoever is at hand.
    heard : Work
        The same with the callback, for this process: it is called for each frame and not only for each piece.

    Raises
    ------
    InputError
        If an argument is not as described, or each frame is to be laid on the one before.

    Notes
    -----
    The result depends on where the stack is cut, and not on who does the work. A piece begins with a search and not
    where the frame before was: its first frames can differ from those of a stack in one piece by as much as the last
    step of the descent leaves, about a thousandth of a pixel.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[0:120, 0:140].astype(float)
    >>> stack = np.array([np.sin((x - n) / 5) * np.cos(y / 7) + np.sin((x - n + 2 * y) / 11) for n in (0, 0.5, 1, 1.5)])
    >>> pieces = Pieces(stack, length=2)
    >>> pieces.spans, pieces.join(map(pieces.work, pieces.spans)).dx.round(2).tolist()
    ([(0, 2), (2, 4)], [0.0, 0.5, 1.0, 1.5])
    """

    def __init__(
        self, frames: Any, *, to: str | int | ArrayLike = "first", length: int = LENGTH, **options: Any
    ) -> None:
        length = _checks.whole_number("length", length, at_least=1)
        self._plan = planned(**options)
        self._to = to
        if isinstance(to, str) and _checks.one_of("to", to, TO) == "previous":
            raise InputError(
                "to is 'previous', where each frame has to wait for the one before it; give 'first', 'mean' or a number"
            )
        source = frames_of(frames).repeatable()
        _, _, template, known = aim(source, to, self._plan)
        count = source.count or 0
        self.work = Work(source, template.fresh(), known, replace(self._plan, callback=silent))
        self.heard = replace(self.work, plan=self._plan)
        self.spans = [(begin, min(begin + length, count)) for begin in range(0, count, length)]

    def join(self, done: Iterable[Ledger | Exception]) -> StackRegistration:
        """Return the result of the whole stack.

        Parameters
        ----------
        done : iterable
            What became of each piece, in their order: what the work returned, or why it could not be done. Its frames
            then are "failed", and bridged.
        """
        whole = Ledger()
        shape = self.work.template.image.shape
        for (begin, end), one in zip(self.spans, self._told(done), strict=True):
            if isinstance(one, Exception):
                whole.fail(end - begin, (shape[0], shape[1]), f"nobody could register the frame: {one}")
            else:
                whole.extend(one)
        return concluded(whole, self.work.source, self._to, self._plan)

    def _told(self, done: Iterable[Ledger | Exception]) -> Iterator[Ledger | Exception]:
        """Say how far the work is."""
        for (_, end), one in zip(self.spans, done, strict=True):
            yield one
            self._plan.callback(end, self.work.source.count)
