"""What the tests of TIFF pages share: stacks written by tifffile, and how they are read."""

from __future__ import annotations

import numpy as np
import tifffile

from alignment.pages import count_pages, read_pages

STACK = np.random.default_rng(0).integers(0, 60000, (12, 16, 20)).astype(np.uint16)
COUNT = len(STACK)


def paged(path, stack=STACK, odd=(), layout=None, **options):
    """Write a TIFF of several pages with tifffile; the odd ones by options of their own."""
    with tifffile.TiffWriter(path, **(layout or {})) as writer:
        for number, page in enumerate(stack):
            own = {"photometric": "minisblack", **(options if not odd or number in odd else {})}
            writer.write(page, contiguous=False, metadata=None, **own)
    return path


def read(path, numbers=range(COUNT)):
    """Read pages of a file as `alignment.frames` does."""
    places = {}
    assert count_pages(str(path), places) > 1
    return list(read_pages(str(path), list(numbers), places[str(path)]))


def by_tifffile(path):
    """Read all pages as tifffile does, each parsed by itself."""
    with tifffile.TiffFile(path) as tiff:
        return [tiff.pages[number].aspage().asarray() for number in range(len(tiff.pages))]


def same(got, expected):
    """Check that pages are those expected, to the dtype."""
    assert [(page.shape, page.dtype) for page in got] == [(page.shape, page.dtype) for page in expected]
    for page, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(page, other)
