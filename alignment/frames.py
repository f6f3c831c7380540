"""The frames of a stack, one after the other: arrays, lists, iterators, files and dask arrays look alike from here.

Nobody holds a whole stack in memory. An array on disk is sliced, a dask array is computed block by block, the pages of
a TIFF and the files of a folder are opened when their turn comes. What can be gone through only once, such as a
generator, is kept in a temporary file if it is needed again.
"""

from __future__ import annotations

import glob
import os
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice, pairwise
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import InputError, whole_number
from .formats import IMAGE_SUFFIXES
from .imagefiles import read_image
from .naming import natural_key
from .pages import count_channels, count_pages, read_pages

Frame = NDArray[Any]
Pathlike = str | os.PathLike[str]

_RIGHT = "give an array of shape (T, H, W) or (T, C, H, W), a list or an iterator of images, or files"
_SMALLEST = 8  # pixels along a side


class Frames(ABC):
    """A stack: iterate over it for its frames, as they are stored, in their order.

    Attributes
    ----------
    count : int or None
        How many there are, where that is known before the last.
    once : bool
        Whether they can be gone through only once.
    colour_last : bool
        Whether a frame of three axes is (H, W, C), as picture files are, or (C, H, W).
    files : tuple of str
        The files that they are read from, in their order; none for frames that are in no file.
    """

    files: tuple[str, ...] = ()
    count: int | None = None
    once: bool = False
    colour_last: bool = False

    @abstractmethod
    def _read(self) -> Iterator[Frame]:
        """Go through the frames from the first one on."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, each checked to be like the first one."""
        first: Frame | None = None
        for number, frame in enumerate(self._read()):
            if first is None:
                _check(frame, self.colour_last)
                first = frame[..., :0]  # its dtype, and no pixels
                shape = frame.shape
            elif frame.shape != shape or frame.dtype != first.dtype:
                raise InputError(
                    f"frame {number} has shape {frame.shape} and dtype {frame.dtype} but frame 0 has {shape} and "
                    f"{first.dtype}; give frames of one kind"
                )
            yield frame
        if first is None:
            raise InputError(f"there is not a single frame; {_RIGHT}")

    def pick(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Yield the frames of some numbers, which ascend."""
        wanted = iter(numbers)
        number = next(wanted, None)
        for n, frame in enumerate(self):
            if number is None:
                return
            if n == number:
                yield frame
                number = next(wanted, None)

    def repeatable(self) -> Frames:
        """Return frames that can be gone through again and again, and whose count is known."""
        return self if self.count is not None and not self.once else _Kept(self)

    def size(self, frame: Frame) -> tuple[int, int]:
        """Return the height and width of a frame."""
        height, width = frame.shape[:2] if self.colour_last else frame.shape[-2:]
        return height, width

    def grey(self, frame: Frame, channel: int | None) -> Frame:
        """Return the channel of a frame that displacements are estimated from; the mean of all for None."""
        if frame.ndim == 2:
            if channel not in (None, 0):
                raise InputError(f"channel is {channel}, but the frames have one channel; leave it out")
            return unmasked(frame)
        axis = 2 if self.colour_last else 0
        if channel is None:
            wide = np.float32 if frame.dtype.itemsize <= 4 else np.float64
            with np.errstate(over="ignore", invalid="ignore"):  # levels that are not finite stay so
                return np.asarray(unmasked(frame).mean(axis=axis, dtype=wide))
        if channel >= frame.shape[axis]:
            raise InputError(
                f"channel is {channel}, but the frames have {frame.shape[axis]} channels; give 0 to "
                f"{frame.shape[axis] - 1}"
            )
        return unmasked(frame[:, :, channel] if axis == 2 else frame[channel])


def unmasked(frame: Frame) -> Frame:
    """Return the grey levels of a masked array as floats, NaN where they are masked; any other array as it is.

    Examples
    --------
    >>> unmasked(np.ma.MaskedArray([3, 4], [False, True])).tolist()
    [3.0, nan]
    """
    if not isinstance(frame, np.ma.MaskedArray):
        return np.asarray(frame)
    if not np.ma.is_masked(frame):
        return np.asarray(frame.data)
    wide = frame.dtype if frame.dtype.kind == "f" else np.float32 if frame.dtype.itemsize <= 2 else np.float64
    return np.where(np.ma.getmaskarray(frame), np.nan, np.ma.getdata(frame)).astype(wide)


def frames_of(source: Any) -> Frames:
    """Return the frames of whatever holds a stack.

    Parameters
    ----------
    source : array_like, list, iterator, str or path
        An array of shape (T, H, W) or (T, C, H, W), or anything that has a shape and is sliced like one (on disk, of
        dask); a list or an iterator of images (H, W) or (C, H, W); a TIFF of several pages, a folder, a pattern with
        ``*`` or ``?``, or a list of such names. Names from a folder or a pattern are taken in natural order (2 before
        10). Pages that are channels by turns, where ImageJ, OME or tifffile say so (axes TCYX), are one frame together.

    Returns
    -------
    Frames

    Raises
    ------
    InputError
        If it is no stack.

    Examples
    --------
    >>> stack = frames_of(np.zeros((5, 16, 20), np.uint8))
    >>> stack.count, [frame.shape for frame in stack.pick([1, 4])]
    (5, [(16, 20), (16, 20)])
    """
    if isinstance(source, Frames):
        return source
    if isinstance(source, str | os.PathLike):
        return _files([source])
    if isinstance(source, list | tuple):
        if source and all(isinstance(item, str | os.PathLike) for item in source):
            return _files(source)
        if not source or _is_array(source[0]):
            return _List(source)
    if isinstance(source, type):
        raise InputError(f"frames is the class {source.__name__}; {_RIGHT}")
    if hasattr(source, "shape") and hasattr(source, "__getitem__"):
        return _Array(source)
    if isinstance(source, Iterable):
        return _Stream(source)
    raise InputError(f"frames is a {type(source).__name__}; {_RIGHT}")


def _is_array(item: Any) -> bool:
    """Say whether something has axes."""
    if isinstance(item, type):
        raise InputError(f"frame 0 is the class {item.__name__}; {_RIGHT}")
    try:
        return np.ndim(item) > 0
    except ValueError as error:  # rows of different lengths
        raise InputError(f"frame 0 is a {type(item).__name__} that makes no rectangle; {_RIGHT}") from error


def _check(frame: Frame, colour_last: bool) -> None:
    """Refuse what is no image with room for a displacement."""
    if frame.ndim not in (2, 3):
        raise InputError(f"a frame has shape {frame.shape}; {_RIGHT}")
    if frame.dtype.kind not in "biuf":
        raise InputError(f"the frames have dtype {frame.dtype}; give grey levels as integers or floats")
    height, width = frame.shape[:2] if colour_last else frame.shape[-2:]
    if min(height, width) < _SMALLEST:
        note = "; a frame of three axes is (C, H, W)" if frame.ndim == 3 and not colour_last else ""
        raise InputError(f"the frames are {width} x {height} px{note}; give at least {_SMALLEST} x {_SMALLEST} px")


class _Array(Frames):
    """Anything with a shape (T, ...) that can be sliced along its first axis."""

    def __init__(self, source: Any) -> None:
        if len(source.shape) not in (3, 4):
            raise InputError(f"frames is an array of shape {tuple(source.shape)}; {_RIGHT}")
        self._source = source
        self.count = int(source.shape[0])

    def _read(self) -> Iterator[Frame]:
        for start, stop in self._blocks():
            if stop - start == 1 or not hasattr(self._source, "compute"):
                yield from (_array(self._source[n]) for n in range(start, stop))
            else:
                yield from _array(self._source[start:stop])

    def pick(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Slice the frames asked for."""
        for number in numbers:
            yield _array(self._source[number])

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Yield what is best read together: the chunks along time of an array that is computed when asked for."""
        chunks = getattr(self._source, "chunks", None)
        if chunks is None or not hasattr(self._source, "compute"):
            return iter([(0, self.count or 0)])
        return pairwise(np.cumsum([0, *chunks[0]]).tolist())


class _List(Frames):
    """Images in a list."""

    def __init__(self, source: Sequence[Any]) -> None:
        self._source = source
        self.count = len(source)

    def _read(self) -> Iterator[Frame]:
        return (_image(item, number) for number, item in enumerate(self._source))

    def pick(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Take the frames asked for."""
        return (_image(self._source[number], number) for number in numbers)


class _Stream(Frames):
    """An iterator, which can be gone through once."""

    once = True

    def __init__(self, source: Iterable[Any]) -> None:
        self._source: Iterator[Any] | None = iter(source)

    def _read(self) -> Iterator[Frame]:
        if self._source is None:
            raise InputError("the iterator of frames has been used up already; give a new one")
        source, self._source = self._source, None
        return (_image(item, number) for number, item in enumerate(source))


class _Kept(Frames):
    """What can be gone through only once, kept in a temporary file."""

    def __init__(self, source: Frames) -> None:
        self.colour_last = source.colour_last
        self.count = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the frames do, and then vanishes
        weakref.finalize(self, self._file.close)
        self._masked: set[int] = set()
        self._starts: list[int] = []
        for frame in source:
            self._shape, self._dtype = frame.shape, frame.dtype
            self._starts.append(self._file.tell())
            self._file.write(np.ascontiguousarray(np.ma.getdata(frame)).data)
            if np.ma.is_masked(frame):
                self._masked.add(self.count)
                self._file.write(np.packbits(np.ma.getmaskarray(frame)).data)
            self.count += 1

    def _read(self) -> Iterator[Frame]:
        return self.pick(range(self.count or 0))

    def pick(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Read the frames asked for."""
        pixels = int(np.prod(self._shape))
        for number in numbers:
            self._file.seek(self._starts[number])
            frame = np.frombuffer(self._file.read(pixels * self._dtype.itemsize), self._dtype).reshape(self._shape)
            if number in self._masked:
                packed = np.frombuffer(self._file.read(-(-pixels // 8)), np.uint8)
                mask = np.unpackbits(packed, count=pixels).astype(bool).reshape(self._shape)
                frame = np.ma.MaskedArray(frame, mask)
            yield frame


def _image(item: Any, number: int) -> Frame:
    """Return one item of a list or an iterator as an image."""
    if isinstance(item, str | os.PathLike):
        return read_image(item)
    try:
        return _array(item)
    except (ValueError, TypeError) as error:
        raise InputError(f"frame {number} is a {type(item).__name__}; {_RIGHT}") from error


def _array(item: Any) -> Frame:
    """Make an array of something; a mask is kept."""
    return item if isinstance(item, np.ma.MaskedArray) else np.asarray(item)


class _Files(Frames):
    """The pages of files, one file after the other."""

    def __init__(self, names: list[str], pages: list[int], places: dict[str, Sequence[int]], channels: int = 1) -> None:
        self._names = names
        self.files = tuple(names)
        self._pages = pages
        self._places = places  # of the descriptions of the pages in a file, so that none has to be looked for
        self._channels = channels  # pages of a frame
        self.colour_last = channels == 1
        self.count = sum(pages) // channels

    def _read(self) -> Iterator[Frame]:
        return self.pick(range(self.count or 0))

    def pick(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Read the frames asked for, each file opened once."""
        if self._channels == 1:
            yield from self._picked(numbers)
            return
        pages = self._picked([number * self._channels + c for number in numbers for c in range(self._channels)])
        while planes := list(islice(pages, self._channels)):
            yield np.stack(planes)

    def _picked(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Read the pages asked for."""
        firsts = np.cumsum([0, *self._pages])
        homes = np.searchsorted(firsts, np.asarray(numbers), side="right") - 1
        for home, both in groupby(zip(homes.tolist(), numbers, strict=True), itemgetter(0)):
            inside = [number - int(firsts[home]) for _, number in both]
            if self._pages[home] == 1:
                yield read_image(self._names[home])
            else:
                yield from read_pages(self._names[home], inside, self._places.get(self._names[home]))


def _files(sources: Sequence[Pathlike]) -> _Files:
    """Find the files that names, folders and patterns stand for, and count their pages."""
    names: list[str] = []
    for source in sources:
        name = os.fspath(source)
        if os.path.isdir(name):
            found = [os.path.join(name, entry) for entry in os.listdir(name)]
            names += _pictures(found, f"the folder {name}")
        elif glob.has_magic(name) and not os.path.lexists(name):
            names += _pictures(glob.glob(name, recursive=True), f"the pattern {name}")
        else:
            names.append(name)
    places: dict[str, Sequence[int]] = {}
    counts = {name: count_pages(name, places) for name in dict.fromkeys((names[0], names[-1]))}
    if len(names) > 2 and max(counts.values()) == 1:  # a folder of single images: each is held to that when it is read
        return _Files(names, [1] * len(names), {})
    pages = [counts[name] if name in counts else count_pages(name, places) for name in names]
    channels = {count_channels(name) if count > 1 else 1 for name, count in zip(names, pages, strict=True)}
    return _Files(names, pages, places, channels.pop() if len(channels) == 1 else 1)


def _pictures(names: list[str], where: str) -> list[str]:
    """Return the names that are those of pictures, in natural order."""
    found = [
        name
        for name in names
        if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
        and not os.path.basename(name).startswith(".")
        and os.path.isfile(name)
    ]
    if not found:
        raise InputError(f"{where} holds no image; give TIFF, PNG or JPEG files")
    return sorted(found, key=natural_key)


def rejoined(head: list[Frame], rest: Iterator[Frame]) -> Iterator[Frame]:
    """Yield the frames of a list, which is emptied on the way so that none is held for longer, then the rest."""
    while head:
        yield head.pop(0)
    yield from rest


def index_of(value: int, count: int) -> int:
    """Return the number of a frame, counted from the end where it is negative."""
    number = int(value) + count if value < 0 else int(value)
    if not 0 <= number < count:
        raise InputError(f"to is {value}, but there are {count} frames; give a number from 0 to {count - 1}")
    return whole_number("to", number)
