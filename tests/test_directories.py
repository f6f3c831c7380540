"""The chain of directories in a TIFF: how its numbers are written, and that it ends."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile

from alignment import InputError, directories
from alignment.directories import Layout, check_pages


def three_pages(**layout):
    """Return a TIFF of three pages that tifffile wrote, and where their directories are."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **layout) as writer:
        for level in range(3):
            writer.write(np.full((4, 5), level, np.uint8), contiguous=False, metadata=None)
    data = file.getvalue()
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        return data, [page.aspage().offset for page in tiff.pages]


LAYOUTS = [{}, {"byteorder": ">"}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_is_that_of_tifffile(layout):
    data, offsets = three_pages(**layout)
    found = Layout.of(io.BytesIO(data))
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        assert found.order == {"<": "little", ">": "big"}[tiff.byteorder]
        assert found.entry == tiff.tiff.tagsize
        assert found.counted == tiff.tiff.tagnosize
        assert found.wide == tiff.tiff.offsetsize
    assert found.first == offsets[0]
    assert check_pages("a.tif", io.BytesIO(data)) is None


def next_at(data, offset):
    """Return where a directory says where the next one is."""
    layout = Layout.of(io.BytesIO(data))
    entries = layout.number(data[offset : offset + layout.counted])
    start = offset + layout.counted + entries * layout.entry
    return slice(start, start + layout.wide)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("back", [0, 1, 2])
def test_a_chain_that_leads_back_is_refused(layout, back):
    data, offsets = three_pages(**layout)
    order, changed = Layout.of(io.BytesIO(data)).order, bytearray(data)
    where = next_at(data, offsets[2])
    changed[where] = offsets[back].to_bytes(where.stop - where.start, order)
    with pytest.raises(InputError, match="its pages go round in a circle"):
        check_pages("a.tif", io.BytesIO(changed))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_chain_that_leads_out_of_the_file_is_refused(layout):
    data, offsets = three_pages(**layout)
    order, where = Layout.of(io.BytesIO(data)).order, next_at(data, offsets[2])
    for place, words in ((len(data), "refers to a page at"), (3, "refers to a page at"), (len(data) - 12, "ends at")):
        changed = bytearray(data)
        changed[where] = place.to_bytes(where.stop - where.start, order)
        with pytest.raises(InputError, match=f"a.tif is a damaged or incomplete TIFF .*{words}"):
            check_pages("a.tif", io.BytesIO(changed + b"\xff" * 12 if words == "ends at" else changed))


def test_more_pages_than_anybody_has_are_refused(monkeypatch):
    monkeypatch.setattr(directories, "_MOST_PAGES", 2)
    with pytest.raises(InputError, match="has more than 2 pages; split it"):
        check_pages("a.tif", io.BytesIO(three_pages()[0]))


def test_a_directory_ends_within_the_file_though_what_follows_may_be_left_out():
    whole = b"II*\0\x08\0\0\0\x01\0" + bytes(12)  # one entry, and no word on where the next directory is
    assert check_pages("a.tif", io.BytesIO(whole)) is None
    with pytest.raises(InputError, match="has 21 bytes and a page whose description ends at 22"):
        check_pages("a.tif", io.BytesIO(whole[:-1]))
