"""The pages of a TIFF of several: how many there are, and some of them read from one opening of the file."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from io import BufferedReader
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import InputError
from .alike import AlikePages
from .directories import check_pages
from .files import explain
from .formats import announced
from .guards import damaged
from .pictures import upright
from .silence import quiet_decoders
from .tiff import check_page, orientation_of, page_levels

Frame = NDArray[Any]


def count_pages(name: str, places: dict[str, Sequence[int]]) -> int:
    """Return the number of pages of a file, and remember where they are described.

    One that is no TIFF, or cannot be read, is left to who reads it.
    """
    import tifffile

    try:
        with open(name, "rb") as file:
            if announced(file.read(4)) != "TIFF":
                return 1
            check_pages(name, file)
            found = AlikePages(file, os.fstat(file.fileno()).st_size).places()
            if len(found) < 2:
                return 1
            file.seek(0)
            with quiet_decoders, tifffile.TiffFile(file) as tiff:
                if not any(page.aspage().is_reduced for page in (tiff.pages[0], tiff.pages[1])):
                    places[name] = found
                    return len(found)
                return max(sum(not page.aspage().is_reduced for page in tiff.pages), 1)
    except OSError:
        return 1
    except InputError:
        raise
    except Exception as error:  # a reader fed with damaged bytes may raise anything
        raise damaged(name, "TIFF", error) from error


def count_channels(name: str) -> int:
    """Return how many pages of a TIFF belong to one frame, by what ImageJ, OME or tifffile have said of its axes."""
    import tifffile

    try:
        with open(name, "rb") as file, quiet_decoders, tifffile.TiffFile(file) as tiff:
            if tiff.is_ome:
                axes, shape = tiff.series[0].axes, tiff.series[0].shape
            elif tiff.is_imagej:
                said = tiff.imagej_metadata or {}
                axes, shape = "TCYX", (said.get("frames", 1), said.get("channels", 1))
            elif tiff.is_shaped:  # not by way of the series: to list them takes a time that grows as pages squared
                said = json.loads(tiff.pages.first.shaped_description or "{}")
                axes, shape = said.get("axes", ""), said.get("shape", ())
            else:
                return 1
            told = axes == "TCYX" and len(tiff.pages) == shape[0] * shape[1]
            return int(shape[1]) if told else 1
    except Exception:  # what is said in words about a file may be anything; its pages are what counts
        return 1


def read_pages(name: str, numbers: Sequence[int], places: Sequence[int] | None = None) -> Iterator[Frame]:
    """Read some pages of a TIFF of several, from one opening of the file.

    Parameters
    ----------
    name : str
        A file in which `count_pages` has found more than one page.
    numbers : sequence of int
        Which ones, ascending from 0; reduced copies are not counted.
    places : sequence of int, optional
        What `count_pages` has remembered of this file.

    Yields
    ------
    ndarray
        The pages, each as `read_image` returns it.

    Raises
    ------
    InputError
        If the file cannot be read, or one of the pages is damaged or nothing that `read_image` would return.
    """
    try:
        with open(name, "rb") as file, _opened(name, file) as tiff:
            size = os.fstat(file.fileno()).st_size
            with _guarded(name):
                pages: Any = tiff.pages
                reduced = any(page.aspage().is_reduced for page in (pages[0], pages[1]))
                if reduced:
                    pages = [page for page in pages if not page.aspage().is_reduced]
            if reduced:
                yield from (_page(name, pages, number, size)[1] for number in numbers)
                return
            alike = AlikePages(file, size, places)
            if numbers and numbers[0] > 1:  # to get to a page in the middle the reader goes through all before it
                alike.learn(*_page(name, pages, 1, size))
            for number in numbers:
                frame = alike.read(number)
                if frame is None:
                    page, frame = _page(name, pages, number, size)
                    alike.learn(page, frame)
                yield frame
    except OSError as error:
        raise InputError(explain(name, "read", error)) from error


def _opened(name: str, file: BufferedReader) -> Any:
    """Return the reader of an open file."""
    import tifffile

    with _guarded(name):
        return tifffile.TiffFile(file)


def _page(name: str, pages: Any, number: int, size: int) -> tuple[Any, Frame]:
    """Parse one page and decode it as `read_image` would."""
    with _guarded(name):
        page = pages[number].aspage()
        check_page(f"page {page.index} of {name}", page, size)
        try:
            image = page.asarray()
        except (ValueError, KeyError, RuntimeError, ImportError) as error:
            if "imagecodecs" not in str(error):
                raise
            kind = getattr(page.compression, "name", str(page.compression))
            raise InputError(
                f"{name} is compressed with {kind}, which needs one more package; install imagecodecs, or save the "
                "stack without compression"
            ) from error
        frame = upright(page_levels(name, page, image), orientation_of(page))
        return page, np.ascontiguousarray(frame)


@contextlib.contextmanager
def _guarded(name: str) -> Iterator[None]:
    """Let the reader work on a file in silence; whatever it raises becomes the sentence for a damaged one."""
    try:
        with quiet_decoders:
            yield
    except (InputError, MemoryError, OSError):
        raise
    except Exception as error:  # a reader fed with damaged bytes may raise anything
        raise damaged(name, "TIFF", error) from error
