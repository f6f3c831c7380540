"""Pages described alike are read without being parsed, and no other page is taken for one of them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile

from alignment import InputError, pages
from alignment.alike import AlikePages
from alignment.frames import frames_of
from alignment.pages import read_pages

from .tiffpages import COUNT, STACK, by_tifffile, paged, read, same


@pytest.mark.parametrize("layout", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}])
def test_pages_described_alike_are_not_parsed_one_by_one(tmp_path, monkeypatch, layout):
    path = paged(tmp_path / "a.tif", layout=layout)
    frames = frames_of(path)
    parsed = []
    page = pages._page
    monkeypatch.setattr(pages, "_page", lambda *given: parsed.append(given[2]) or page(*given))
    np.testing.assert_array_equal(list(frames), by_tifffile(path))
    assert parsed == [0]
    np.testing.assert_array_equal(list(frames.pick([7, 9])), STACK[[7, 9]])
    assert parsed == [0, 1]


@pytest.mark.parametrize("odd", [(4,), (0, 4), (0, 1, 11)])
@pytest.mark.parametrize(
    "options",
    [
        {"extratags": [(274, "H", 1, 3, True)]},
        {"photometric": "miniswhite"},
        {"description": "a much longer description than that of the others"},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"rowsperstrip": 5},
        {"tile": (16, 32)},
        {"resolution": (300, 300)},
    ],
    ids=["turned", "inverted", "description", "compressed", "predicted", "strips", "tiles", "resolution"],
)
def test_a_page_that_is_described_in_another_way_is_read_in_full(tmp_path, options, odd):
    """Some pages among many: what the description of the first does not tell must not be read as if it did."""
    path = paged(tmp_path / "a.tif", odd=odd, **options)
    expected = STACK.copy()
    for number in odd:
        if "extratags" in options:
            expected[number] = STACK[number, ::-1, ::-1]
        elif options.get("photometric") == "miniswhite":
            expected[number] = 65535 - STACK[number]
    same(read(path), expected)
    same(read(path, [3, 4, 5]), expected[3:6])


def other(kind):
    """Return a page of as many bytes as the others of the stack have, and another shape or dtype."""
    raw = np.random.default_rng(1).integers(0, 60, (16, 20)).astype(np.uint16)
    return {
        "lying": raw.reshape(20, 16),
        "wider": raw.reshape(8, 40),
        "8 bits": raw.view(np.uint8),
        "float": raw.astype(np.float16),
        "double": raw.view(np.float64).reshape(8, 10),
    }[kind]


@pytest.mark.parametrize("number", [0, 1, 6, 11])
@pytest.mark.parametrize("kind", ["lying", "wider", "8 bits", "float", "double"])
def test_a_page_of_as_many_bytes_and_another_shape_or_dtype_is_not_misread(tmp_path, kind, number):
    stack = list(STACK)
    stack[number] = other(kind)
    path = paged(tmp_path / "a.tif", stack)
    same(read(path), stack)
    said = "frame 1 has shape" if number == 0 else f"frame {number} has shape"
    with pytest.raises(InputError, match=said):
        list(frames_of(path))


def test_a_page_lies_on_its_side_where_all_say_how_they_lie(tmp_path):
    lying = (1, 1, 6, 1, 3, 3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page, way in zip(STACK, lying, strict=False):
            tags = [(274, "H", 1, way, True)]
            writer.write(page, photometric="minisblack", contiguous=False, metadata=None, extratags=tags)
    turned = [np.rot90(page, {1: 0, 3: 2, 6: -1}[way]) for page, way in zip(STACK, lying, strict=False)]
    same(read(tmp_path / "a.tif", range(6)), turned)


def test_bits_in_reverse_are_reversed_on_every_page(tmp_path):
    """They lie in one piece, as plain grey levels do, and are none."""
    path = paged(tmp_path / "a.tif", STACK.astype(np.uint8), extratags=[(65000, "H", 1, 2, True)])
    with tifffile.TiffFile(path) as tiff:
        entries = [tiff.pages[number].aspage().tags[65000].offset for number in range(COUNT)]
    data = bytearray(path.read_bytes())
    for entry in entries:
        struct.pack_into("<H", data, entry, 266)  # FillOrder
    path.write_bytes(data)
    reverse = np.array([int(f"{level:08b}"[::-1], 2) for level in range(256)], np.uint8)
    same(read(path), reverse[STACK.astype(np.uint8)])


@pytest.mark.parametrize("code", [273, 324])
def test_a_second_word_on_where_the_pixels_are_is_heeded(tmp_path, code):
    """Offsets of strips said twice, or of tiles besides: the pixels are where tifffile finds them."""
    path = paged(tmp_path / "a.tif", extratags=[(65000, "I", 1, 8, True)])
    with tifffile.TiffFile(path) as tiff:
        described = [tiff.pages[number].aspage() for number in range(COUNT)]
        entries = [page.tags[65000].offset for page in described]
        starts = [page.dataoffsets[0] for page in described]
    data = bytearray(path.read_bytes())
    for entry, start in zip(entries, starts[:1] + starts[:0:-1], strict=True):
        struct.pack_into("<HHII", data, entry, code, 4, 1, start if code == 273 else starts[0])
    path.write_bytes(data)
    same(read(path), by_tifffile(path))


@pytest.mark.parametrize("layout", [{}, {"byteorder": ">"}, {"bigtiff": True}])
def test_whatever_changes_in_a_description_is_read_as_without_the_short_cut(tmp_path, monkeypatch, layout):
    """Every byte of the description of one page, changed: the same pages, or the same refusal."""
    path = paged(tmp_path / "a.tif", STACK[:4], layout=layout)
    data = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        entries = sorted(tag.offset for tag in tiff.pages[2].aspage().tags)
    length = entries[1] - entries[0]

    def outcome():
        try:
            return [(page.dtype, page.shape, page.tobytes()) for page in read_pages(str(path), range(4))]
        except InputError as error:
            return str(error)

    short_cut, taken = AlikePages.read, []

    def counted(self, number):
        taken.append(number)
        return short_cut(self, number)

    for place in range(entries[0], entries[-1] + length):
        for change in (1, 0x82):
            changed = bytearray(data)
            changed[place] ^= change
            path.write_bytes(changed)
            monkeypatch.setattr(AlikePages, "read", counted)
            got = outcome()
            monkeypatch.setattr(AlikePages, "read", lambda self, number: None)
            assert got == outcome(), f"byte {(place - entries[0]) % length} of entry {(place - entries[0]) // length}"
    assert taken
