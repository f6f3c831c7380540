"""The pages of a TIFF: counted, read exactly whatever their kinds, and refused by their number."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from alignment import InputError
from alignment.frames import frames_of
from alignment.pages import count_pages, read_pages

from .tiffpages import STACK, paged, read, same


@pytest.mark.parametrize(
    ("usual", "dtype"), [("uint16", "int16"), ("uint16", "uint32"), ("float16", "int16"), ("float32", "int32")]
)
def test_a_page_of_a_type_that_is_not_read_is_refused_by_its_number(tmp_path, usual, dtype):
    stack = list(STACK.astype(np.uint8).astype(usual))
    stack[3] = stack[3].astype(dtype)
    path = paged(tmp_path / "a.tif", stack)
    with pytest.raises(InputError, match=f"page 3 of .* as {np.dtype(dtype).name}; save it"):
        read(path)


def test_pages_of_two_kinds_by_turns(tmp_path):
    stack = [page if number % 2 else page.astype(np.uint8) for number, page in enumerate(STACK)]
    same(read(paged(tmp_path / "a.tif", stack)), stack)


def test_colours_among_grey_levels(tmp_path):
    stack = [STACK[0], STACK[1], np.dstack([STACK[2], STACK[3], STACK[4]]), STACK[5]]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in stack:
            photometric = "rgb" if page.ndim == 3 else "minisblack"
            writer.write(page, contiguous=False, metadata=None, photometric=photometric)
    same(read(tmp_path / "a.tif", range(4)), stack)


def test_a_page_whose_pixels_are_cut_off_is_damaged(tmp_path):
    path = paged(tmp_path / "a.tif")
    with tifffile.TiffFile(path) as tiff:
        entry = tiff.pages[6].tags[273]
        size = tiff.filehandle.size
    with open(path, "r+b") as file:
        file.seek(entry.offset + 8)
        file.write((size - 100).to_bytes(4, "little"))
    with pytest.raises(InputError, match="damaged"):
        list(frames_of(path))


def test_pages_are_counted_without_reduced_copies(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in STACK[:3]:
            writer.write(page, contiguous=False, metadata=None)
            writer.write(page[::2, ::2], contiguous=False, metadata=None, subfiletype=1)
    assert count_pages(str(tmp_path / "a.tif"), {}) == 3
    same(list(read_pages(str(tmp_path / "a.tif"), range(3))), STACK[:3])


def test_what_is_no_tiff_of_several_pages_counts_as_one(tmp_path):
    paged(tmp_path / "one.tif", STACK[:1])
    (tmp_path / "text.tif").write_text("a letter")
    places = {}
    for name in ("one.tif", "text.tif", "missing.tif"):
        assert count_pages(str(tmp_path / name), places) == 1
    assert places == {}


def test_counting_channels_does_not_list_every_series(tmp_path, monkeypatch):
    """Of pages written one by one, the reader makes a series each, and compares every one with every other."""
    with tifffile.TiffWriter(tmp_path / "stack.tif") as writer:
        for page in np.arange(6 * 64, dtype=np.uint16).reshape(6, 8, 8):
            writer.write(page, contiguous=False)

    def refuse(self):
        raise AssertionError("all series are listed")

    monkeypatch.setattr(tifffile.TiffFile, "series", property(refuse))
    frames = frames_of(str(tmp_path / "stack.tif"))
    assert frames.count == 6
    assert [int(frame[0, 0]) for frame in frames] == [64 * n for n in range(6)]
