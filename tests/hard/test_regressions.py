"""What once went wrong, each under the name of what it was."""

from __future__ import annotations

import numpy as np
import pytest

import alignment as al
from alignment import directories
from alignment._checks import InputError, image

from .outcomes import patience, scene
from .strange_files import REFUSED, directory, entries, png


@pytest.mark.parametrize("name", ["TIFF whose directory is itself", "TIFF in a circle of two", "TIFF nested in itself"])
def test_directories_in_a_circle_were_followed_for_ever(tmp_path, name):
    path = tmp_path / "circle.tif"
    path.write_bytes(REFUSED[name][1]())
    with patience(20.0), pytest.raises(InputError, match="go round in a circle"):
        al.read_image(path)


def test_a_chain_of_directories_that_ends_is_followed(tmp_path):
    path = tmp_path / "plain.tif"
    path.write_bytes(directory(entries(offset=150)))
    assert al.read_image(path).shape == (4, 4)
    with open(path, "rb") as file:
        assert directories.check_pages("plain.tif", file) is None


def test_colours_beyond_the_palette_were_black(tmp_path):
    path = tmp_path / "palette.png"
    path.write_bytes(png(4, 4, colour=3, data=b"\0\7\7\7\7" * 4))
    with pytest.raises(InputError, match="colours beyond the 0 of its palette"):
        al.read_image(path)


def test_line_breaks_in_names_broke_messages():
    assert str(InputError("two\nlines\r\x1b[31m.png\u2028; no")) == "two\\nlines\\r\\x1b[31m.png\\u2028; no"


@pytest.mark.parametrize(("dtype", "level"), [("float32", 1e20), ("float64", 1e80), ("float64", 1e300)])
def test_levels_that_cannot_be_squared_overflowed(dtype, level):
    a, b = scene().astype(dtype), scene(dx=1.25).astype(dtype)
    b[5, 7] = level
    assert image("moving", b)[1][5, 7] == 0
    found = al.register(a, b)
    assert found.success
    assert abs(found.dx - 1.25) < 0.01
    with pytest.raises(InputError, match="too large to be squared"):
        al.register(a, (scene() + 1).astype(dtype) * np.dtype(dtype).type(level))
    with pytest.raises(InputError, match="too small to be squared"):
        al.NCC(a, (scene() / level).astype(dtype))


def test_levels_of_any_size_are_shifted():
    np.testing.assert_allclose(al.shift(scene() * 1e300, 1.5, 0.5), al.shift(scene(), 1.5, 0.5) * 1e300)


def test_shift_showed_what_a_mask_hides():
    hidden = np.ma.MaskedArray([[1.0, 9.0, 1.0]], [[False, True, False]])
    np.testing.assert_array_equal(al.shift(hidden, 0, 0), [[1.0, np.nan, 1.0]])
    np.testing.assert_array_equal(al.shift(hidden.astype(np.uint8), 0, 0), [[1, 0, 1]])


def test_masked_arrays_were_written_with_what_they_hide(tmp_path):
    hidden = np.ma.MaskedArray(np.zeros((3, 3), np.uint8), np.eye(3, dtype=bool))
    with pytest.raises(InputError, match="fill them first"):
        al.write_image(tmp_path / "a.png", hidden)
    al.write_image(tmp_path / "a.png", hidden.filled(1))
    assert not list(tmp_path.glob(".*"))


def test_floats_beyond_float32_were_written_as_infinity(tmp_path):
    with pytest.raises(InputError, match="as float32; divide"):
        al.write_image(tmp_path / "a.tif", np.full((3, 3), 1e300), dtype="float32")


def test_theta_took_what_is_no_number():
    with pytest.raises(InputError, match="dx is nan"):
        al.theta(float("nan"), 0.0)


def test_numbers_of_thousands_of_digits_could_not_be_refused():
    with pytest.raises(InputError, match="too long to show"):
        al.minimise(al.MSE(scene(), scene()), al.Adam(0.1), steps=-(10**5000))
