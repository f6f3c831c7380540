"""The frames of a stack, from whatever holds them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from alignment import InputError, write_image
from alignment.frames import frames_of

STACK = np.random.default_rng(0).integers(0, 60000, (12, 16, 20)).astype(np.uint16)


def same(frames, expected=STACK):
    """Check that frames are those expected, gone through and picked."""
    got = list(frames)
    assert len(got) == len(expected)
    assert all(frame.dtype == expected.dtype for frame in got)
    np.testing.assert_array_equal(np.array(got), expected)


def paged(path, stack=STACK, **options):
    """Write a TIFF of several pages."""
    with tifffile.TiffWriter(path) as writer:
        for page in stack:
            writer.write(page, photometric="minisblack", contiguous=False, metadata=None, **options)
    return path


def test_arrays_and_lists():
    for source in (STACK, list(STACK), tuple(STACK)):
        frames = frames_of(source)
        assert frames.count == 12
        same(frames)
        same(frames.pick([0, 3, 11]), STACK[[0, 3, 11]])


def test_an_array_on_disk_is_sliced(tmp_path):
    np.save(tmp_path / "a.npy", STACK)
    same(frames_of(np.load(tmp_path / "a.npy", mmap_mode="r")))


def test_an_iterator_is_read_once_and_no_further_than_asked():
    taken = []

    def source():
        for number, frame in enumerate(STACK):
            taken.append(number)
            yield frame

    frames = frames_of(source())
    assert (frames.count, frames.once) == (None, True)
    first = iter(frames)
    next(first)
    assert taken == [0]
    with pytest.raises(InputError, match="used up"):
        list(frames)


def test_an_iterator_that_is_needed_again_is_kept():
    kept = frames_of(iter(STACK)).repeatable()
    assert kept.count == 12
    same(kept)
    same(kept)
    same(kept.pick([2, 7]), STACK[[2, 7]])


def test_pages_of_a_file(tmp_path):
    frames = frames_of(paged(tmp_path / "a.tif"))
    assert frames.count == 12
    same(frames)
    same(frames.pick([1, 2, 10]), STACK[[1, 2, 10]])


def test_a_stack_that_tifffile_wrote_in_one_piece(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack")
    same(frames_of(tmp_path / "a.tif"))


def test_folders_and_patterns_are_read_as_people_count(tmp_path):
    for number, frame in enumerate(STACK):
        write_image(tmp_path / f"t{number}.tif", frame)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".t3.tif").write_text("hidden")
    for source in (tmp_path, str(tmp_path / "t*.tif"), [str(tmp_path / f"t{n}.tif") for n in range(12)]):
        same(frames_of(source))
        same(frames_of(source).pick([9, 10]), STACK[[9, 10]])


def test_files_of_several_pages_follow_one_another(tmp_path):
    paged(tmp_path / "a1.tif", STACK[:5])
    paged(tmp_path / "a2.tif", STACK[5:])
    frames = frames_of(str(tmp_path / "a*.tif"))
    assert frames.count == 12
    same(frames)
    same(frames.pick([4, 5]), STACK[[4, 5]])


class Lazy:
    """An array that is computed when it is asked for, in chunks along time, as dask's are."""

    def __init__(self, array, chunks, asked):
        self.array, self.asked = array, asked
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, array.dtype
        self.chunks = (chunks, *((size,) for size in array.shape[1:]))

    def __getitem__(self, key):
        self.asked.append(key)
        part = self.array[key]
        return Lazy(part, (len(part),) if isinstance(key, slice) else (), self.asked)

    def compute(self):
        return self.array

    def __array__(self, dtype=None, copy=None):
        return self.array


def test_chunks_are_computed_one_after_the_other():
    asked = []
    frames = iter(frames_of(Lazy(STACK, (5, 5, 2), asked)))
    next(frames)
    assert asked == [slice(0, 5)]
    same([STACK[0], *frames])
    assert asked == [slice(0, 5), slice(5, 10), slice(10, 12)]


def test_dask_arrays():
    array = pytest.importorskip("dask.array", reason="dask is not installed").from_array(STACK, chunks=(5, 16, 20))
    same(frames_of(array))
    same(frames_of(array).pick([3, 8]), STACK[[3, 8]])


def test_what_is_masked_is_not_looked_at():
    mask = np.zeros(STACK.shape, bool)
    mask[3, :4] = True
    for source in (np.ma.MaskedArray(STACK, mask), list(np.ma.MaskedArray(STACK, mask))):
        for frames in (frames_of(source), frames_of(iter(source)).repeatable()):
            for number, frame in enumerate(frames):
                grey = frames.grey(frame, None)
                np.testing.assert_array_equal(np.isnan(grey), mask[number])
                np.testing.assert_array_equal(grey[~mask[number]], STACK[number][~mask[number]])
                assert grey.dtype == (np.float32 if number == 3 else np.uint16)


def test_channels():
    cube = np.random.default_rng(1).random((4, 3, 16, 20)).astype(np.float32)
    frames = frames_of(cube)
    frame = next(iter(frames))
    np.testing.assert_array_equal(frames.grey(frame, 2), cube[0, 2])
    np.testing.assert_allclose(frames.grey(frame, None), cube[0].mean(axis=0), rtol=1e-6)
    with pytest.raises(InputError, match="channel is 3"):
        frames.grey(frame, 3)
    with pytest.raises(InputError, match="one channel"):
        frames.grey(cube[0, 0], 1)


def test_colour_files_have_their_channels_last(tmp_path):
    picture = np.random.default_rng(1).integers(0, 255, (16, 20, 3)).astype(np.uint8)
    write_image(tmp_path / "a.png", picture)
    frames = frames_of([tmp_path / "a.png"])
    np.testing.assert_array_equal(frames.grey(next(iter(frames)), 1), picture[..., 1])


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (np.zeros((16, 20)), "shape"),
        (np.zeros((3, 4, 5)), "5 x 4 px"),
        (np.zeros((3, 16, 20), complex), "complex128"),
        ([], "not a single frame"),
        (iter([]), "not a single frame"),
        ([np.zeros((16, 20)), np.zeros((16, 21))], r"frame 1 has shape \(16, 21\)"),
        ([np.zeros((16, 20)), np.zeros((16, 20), np.uint8)], "uint8"),
        (5, "frames is a int"),
        ("nothing*.tif", "holds no image"),
        ("missing.tif", "does not exist"),
    ],
)
def test_what_is_no_stack(source, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=says):
        list(frames_of(source))


def test_a_damaged_stack_is_an_error_of_one_sentence(tmp_path):
    path = paged(tmp_path / "a.tif")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match="damaged"):
        list(frames_of(path))
