"""Files are read exactly, written whole, and refused in one sentence."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from alignment import imagefiles
from alignment.imagefiles import read_image, write_image

from .imagetools import COLOUR, grey, refuses, smooth


@pytest.mark.parametrize(
    ("suffix", "dtype", "colour"),
    [
        (".tif", np.uint8, False),
        (".tif", np.uint8, True),
        (".TIFF", np.uint16, False),
        (".tiff", np.uint16, True),
        (".png", np.uint8, False),
        (".png", np.uint8, True),
        (".PNG", np.uint16, False),
    ],
)
def test_lossless_round_trip_is_exact(tmp_path, rng, suffix, dtype, colour):
    image = grey(rng, dtype, (13, 17, 3) if colour else (13, 17))
    write_image(tmp_path / f"a{suffix}", image)
    back = read_image(tmp_path / f"a{suffix}")
    assert back.dtype == dtype
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 7), (4, 9), (3, 3), (3, 4, 3), (1, 1, 3)])
def test_odd_shapes_are_not_mistaken_for_colour(tmp_path, rng, shape, dtype):
    image = grey(rng, np.dtype(dtype), shape)
    write_image(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert len(tiff.pages) == 1
        assert tiff.pages[0].photometric.name == ("RGB" if len(shape) == 3 else "MINISBLACK")


def test_small_values_keep_16_bits(tmp_path):
    image = np.array([[0, 1], [2, 200]], np.uint16)
    for suffix in ("png", "tif"):
        write_image(tmp_path / f"a.{suffix}", image)
        back = read_image(tmp_path / f"a.{suffix}")
        assert back.dtype == np.uint16
        np.testing.assert_array_equal(back, image)


def test_views_that_are_not_contiguous_are_written_right(tmp_path, rng):
    image = grey(rng, np.uint16, (20, 30, 3))[::-2, ::3]
    write_image(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


def test_big_endian_arrays_are_written_right(tmp_path, rng):
    image = grey(rng, np.uint16)
    for suffix in ("tif", "png"):
        write_image(tmp_path / f"a.{suffix}", image.astype(">u2"))
        np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), image)


@pytest.mark.parametrize("shape", [(64, 80), (64, 80, 3)])
def test_jpeg_is_close_and_its_colours_are_not_subsampled(tmp_path, shape):
    image = smooth(shape)
    write_image(tmp_path / "a.jpg", image)
    back = read_image(tmp_path / "a.jpg")
    assert back.shape == shape
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - image).mean() < 1
    with Image.open(tmp_path / "a.jpg") as picture:
        assert {layer[1:3] for layer in picture.layer} == {(1, 1)}


def test_floats_are_stored_by_format(tmp_path):
    image = np.linspace(0, 1, 12).reshape(3, 4)
    for suffix, dtype in (("tif", np.uint16), ("png", np.uint8), ("jpg", np.uint8)):
        write_image(tmp_path / f"a.{suffix}", image)
        assert read_image(tmp_path / f"a.{suffix}").dtype == dtype
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.rint(image * 65535))
    write_image(tmp_path / "b.png", image, dtype="uint16")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), np.rint(image * 65535))
    write_image(tmp_path / "c.tif", 3 * image - 1, dtype="float32")
    np.testing.assert_array_equal(read_image(tmp_path / "c.tif"), (3 * image - 1).astype(np.float32))


def test_dtype_converts_by_range(tmp_path, rng):
    image = grey(rng, np.uint16)
    write_image(tmp_path / "a.jpg", image, dtype="uint8")
    write_image(tmp_path / "a.png", image, dtype=np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rint(image / 257))


def test_rgb_with_equal_channels_stays_rgb(tmp_path, rng):
    image = np.repeat(grey(rng)[..., None], 3, axis=2)
    write_image(tmp_path / "a.png", image)
    assert read_image(tmp_path / "a.png").shape == image.shape


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("colour", [False, True])
def test_cut_at_any_point_is_refused(tmp_path, suffix, colour, caplog, capfd):
    image = smooth((48, 64, 3) if colour else (48, 64))
    image = image ^ np.random.default_rng(0).integers(0, 32, image.shape, np.uint8)
    write_image(tmp_path / f"whole.{suffix}", image)
    data = (tmp_path / f"whole.{suffix}").read_bytes()
    for part in (*np.linspace(4, len(data) - 1, 25).astype(int), len(data) - 2):
        (tmp_path / f"a.{suffix}").write_bytes(data[:part])
        refuses(tmp_path / f"a.{suffix}")
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_memory_that_runs_out_and_disks_that_fail_are_explained(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    for error, words in (
        (MemoryError(), "too large for the free memory"),
        (OSError(5, "Input/output error"), "cannot be read, because input/output error; check the disk"),
    ):

        def fail(*args, error=error):
            raise error

        monkeypatch.setattr(imagefiles, "recognise", fail)
        refuses(tmp_path / "a.png", words)


def test_other_colour_models_and_types_are_refused(tmp_path, rng):
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    refuses(tmp_path / "a.jpg", "as CMYK, which is neither grey nor RGB")
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.tif")
    refuses(tmp_path / "a.tif", "4 channel.* as SEPARATED; convert")
    for dtype in (np.int16, np.uint32, np.complex64):
        tifffile.imwrite(tmp_path / "b.tif", np.zeros((4, 5), dtype))
        refuses(tmp_path / "b.tif", f"as {np.dtype(dtype).name}; save it with 8 or 16 bits")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((6, 7, 5), np.uint8), photometric="minisblack", planarconfig="contig")
    refuses(tmp_path / "c.tif", "5 channels")
    frames = [Image.fromarray(grey(rng)) for _ in range(2)]
    frames[0].save(tmp_path / "d.png", save_all=True, append_images=frames[1:])
    refuses(tmp_path / "d.png", "is an animation")


def test_heavy_libraries_are_imported_late():
    code = (
        "import sys, alignment.imagefiles, alignment.datasets;"
        "print([m for m in ('imageio', 'tifffile', 'PIL', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_equal_arguments_give_equal_bytes(tmp_path, suffix):
    made = []
    for name in "ab":
        path = tmp_path / f"{name}{suffix}"
        write_image(path, COLOUR, description="x", resolution=(300, 300), colour_space="srgb")
        made.append(path.read_bytes())
    assert made[0] == made[1]
