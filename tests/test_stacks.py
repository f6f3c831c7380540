"""Stacks: the drift that was put in comes out, bad frames are told and bridged, nothing is held in memory."""

from __future__ import annotations

import csv
import json
import weakref

import numpy as np
import pytest

import alignment as al
from alignment import InputError, StackRegistration, register_stack, shift
from alignment.average import average
from alignment.stacks import COLUMNS, CONVENTION, FORMAT

SHAPE = (112, 128)
FINE = 4
_POINTS = np.random.default_rng(7).random((260, 3))


def scene(shape=SHAPE, offset=(0.0, 0.0)):
    """Return blobs and waves, averaged over pixels of FINE x FINE points; the content lies `offset` (dx, dy) further.

    Analytic, and averaged as a sensor does: nothing here interpolates.
    """
    fine = (np.arange(-0.5, 0.5, 1 / FINE) + 0.5 / FINE)[None, :]
    y, x = ((np.arange(n)[:, None] + fine).ravel() - d for n, d in zip(shape, offset[::-1], strict=True))
    image = 0.6 * np.outer(np.cos(y / 5), np.sin(x / 4)) + 0.4 * np.sin((x[None, :] + 2 * y[:, None]) / 11)
    across, down = (
        np.exp(-((d[None, :] - size * _POINTS[:, n, None] + 35) ** 2) / 2 / 1.6**2)
        for d, size, n in ((x, 200, 0), (y, 180, 1))
    )
    image += (down * _POINTS[:, 2, None]).T @ across
    return image.reshape(shape[0], FINE, shape[1], FINE).mean(axis=(1, 3))


def walk(count, seed=0, step=0.4):
    """Return a path (dx, dy), zero at its beginning."""
    path = np.cumsum(np.random.default_rng(seed).normal(0, step, (count, 2)), axis=0)
    return path - path[0]


def made(path, noise=0.02, seed=1, dtype=np.float32):
    """Return a stack that drifts along a path."""
    rng = np.random.default_rng(seed)
    return np.array([scene(offset=place) + noise * rng.standard_normal(SHAPE) for place in path]).astype(dtype)


@pytest.fixture(scope="module")
def path():
    return walk(24)


@pytest.fixture(scope="module")
def stack(path):
    return made(path)


def error(result, path, anchored=True):
    """Return the largest error, up to the place of the reference where that is not known."""
    found = np.stack([result.dx, result.dy], axis=1) - path
    return float(np.abs(found - (0 if anchored else np.median(found, axis=0))).max())


# the drift comes out


@pytest.mark.parametrize("to", ["first", "mean", "previous"])
def test_the_drift_that_was_put_in_comes_out(stack, path, to):
    result = register_stack(stack, to=to)
    assert result.success.all()
    assert error(result, path, anchored=to != "mean") < 0.03
    assert result.stderr.max() < 0.03
    assert list(result.stderr[0]) == [0, 0] or to == "mean"


def test_onto_a_frame_or_an_image(stack, path):
    last = register_stack(stack, to=-1)
    assert error(last, path - path[-1]) < 0.02
    assert (last.dx[-1], last.dy[-1], last.stderr[-1].max()) == (0, 0, 0)
    image = register_stack(stack, to=scene(offset=(1.25, -0.5)))
    assert error(image, path - (1.25, -0.5)) < 0.02
    assert (register_stack(stack, to=23).dx == last.dx).all()


@pytest.mark.slow
def test_a_path_from_several_lags_errs_less_than_a_chain():
    ends = {1: [], 3: []}
    for seed in range(3):
        path = walk(24, seed=seed, step=0.3)
        stack = made(path, noise=0.25, seed=seed)
        for lags in ((1,), (1, 3, 9)):
            ends[len(lags)].append(error(register_stack(stack, to="previous", lags=lags), path))
    assert np.mean(ends[3]) < np.mean(ends[1])


def test_the_variance_of_a_chain_adds_up(stack):
    result = register_stack(stack, to="previous")
    variances = result.covariance[:, 0, 0]
    assert (np.diff(variances) > 0).all()
    assert variances[-1] > 10 * variances[1]


@pytest.mark.parametrize("to", ["first", "mean"])
def test_error_bars_hold_the_truth(to):
    path = walk(80, step=0.3)
    result = register_stack(made(path, noise=0.3), to=to)
    found = (np.stack([result.dx, result.dy], axis=1) - path)[1:]
    found -= found.mean(axis=0)
    squares = np.einsum("ni,nij,nj->n", found, np.linalg.inv(result.covariance[1:]), found)
    assert (squares < 5.991).mean() > 0.88
    assert 0.45 < np.median(squares) / 1.386 < 1.8


def test_a_drift_far_beyond_the_border_is_followed():
    path = np.stack([np.linspace(0, 48, 25), np.linspace(0, -40, 25)], axis=1)
    result = register_stack(made(path))
    assert result.success.all()
    assert error(result, path) < 0.05


def test_jumps_are_found_again():
    path = walk(20, step=0.2)
    path[8:] += (21.0, -14.0)
    path[14:] += (-30.0, 9.0)
    for to in ("first", "previous", "mean"):
        result = register_stack(made(path), to=to)
        assert result.success.all(), to
        assert error(result, path, anchored=to != "mean") < 0.05, to


# bad frames


def spoilt(stack):
    """Return a stack with one frame of each kind of trouble, and what each should be called."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(3)
    bad = stack.copy()
    bad[3] = 0.2  # of one grey level
    bad[6] = 0.2 + 0.02 * rng.standard_normal(SHAPE)  # a closed shutter
    bad[9, :, :90] = bad.max()  # a flash
    bad[12] = gaussian_filter(bad[12], 3)
    bad[15] = scene(offset=(400, 300))[::-1]  # something else
    bad[18, :80] = np.nan
    names = {3: "blank", 6: "blank", 9: "saturated", 12: "out of focus", 15: "no correlation", 18: "not finite"}
    return bad, names


@pytest.mark.parametrize("to", ["first", "mean", "previous"])
def test_bad_frames_are_told_and_bridged(stack, path, to):
    bad, names = spoilt(stack)
    result = register_stack(bad, to=to)
    flagged = {n: result.status[n] for n in np.flatnonzero(~result.success)}
    assert flagged.keys() == names.keys()
    for n in (3, 6, 9, 18):
        assert flagged[n] == names[n]
    # where nothing is compared with one image, a blur is not told from anything else
    assert flagged[12] == ("out of focus" if to != "previous" else "no correlation")
    assert len(result) == len(stack)
    good = result.success
    found = np.stack([result.dx, result.dy], axis=1) - path
    found -= np.median(found[good], axis=0) if to == "mean" else 0
    assert np.abs(found[good]).max() < 0.05
    for n in names:
        np.testing.assert_allclose(result.dx[n], (result.dx[n - 1] + result.dx[n + 1]) / 2)
        assert np.isinf(result.stderr[n]).all()
        assert "interpolated" in result.message[n]


def test_gaps_can_be_left_open(stack):
    bad, names = spoilt(stack)
    result = register_stack(bad, bridge="nan")
    assert np.flatnonzero(np.isnan(result.dx)).tolist() == sorted(names)
    aligned = list(result.apply(bad))
    assert len(aligned) == len(bad)
    assert (aligned[3] == 0).all()


def test_a_bad_first_frame_is_not_the_reference(stack, path):
    bad = stack.copy()
    bad[0] = 0.2 + 0.02 * np.random.default_rng(3).standard_normal(SHAPE)
    for to in ("first", "mean"):
        result = register_stack(bad, to=to)
        assert np.flatnonzero(~result.success).tolist() == [0]
        assert error(result, path, anchored=False) < 0.5  # the bridged one
        assert result.dx[0] == result.dx[1]


def test_few_pixels_that_are_not_finite_are_left_out(stack, path):
    bad = stack.copy()
    bad[5, 50:60, 60:70] = np.nan
    result = register_stack(bad)
    assert result.success.all()
    assert error(result, path) < 0.03


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e300])
@pytest.mark.parametrize("to", ["first", "mean", "previous"])
def test_single_pixels_that_nobody_can_square_are_left_out(stack, path, to, value):
    bad = stack.astype(np.float64)
    bad[5, 50, 60] = bad[9, 20:22, 30] = value
    result = register_stack(bad, to=to)
    assert result.success.all()
    assert error(result, path, anchored=to != "mean") < 0.05


@pytest.mark.parametrize("to", ["first", "mean", "previous"])
def test_what_is_masked_is_left_out(stack, path, to):
    """A stripe that moves otherwise than the scene, in every frame: heeded, it would pull, or spoil, them all."""
    bad, mask = stack.copy(), np.zeros(stack.shape, bool)
    bad[:, 40:70] = made(np.zeros_like(path))[:, 40:70] * 20
    mask[:, 40:70] = True
    result = register_stack(np.ma.MaskedArray(bad, mask), to=to)
    assert result.success.sum() >= 23
    assert np.abs(error(result, path, anchored=to != "mean")) < 0.06
    assert not register_stack(bad, to=to).success.all() or error(register_stack(bad, to=to), path, anchored=False) > 0.3


def test_a_masked_reference_is_heeded(stack, path):
    reference, mask = scene(), np.zeros(SHAPE, bool)
    reference[30:60, 30:60] = 40
    mask[30:60, 30:60] = True
    result = register_stack(stack, to=np.ma.MaskedArray(reference, mask))
    assert error(result, path) < 0.03


def test_frames_too_bright_or_too_dark_to_be_squared_are_told(stack):
    bad = stack.astype(np.float64)
    bad[4] *= 1e300
    bad[8] *= 1e-300
    bad[12] = np.inf
    result = register_stack(bad)
    assert {n: result.status[n] for n in np.flatnonzero(~result.success)} == {
        4: "not finite",
        8: "blank",
        12: "not finite",
    }


@pytest.mark.parametrize("to", ["first", "mean", "previous"])
def test_a_high_pedestal_does_not_matter(stack, path, to):
    result = register_stack(stack.astype(np.float64) + 1e9, to=to)
    assert result.success.all()
    assert error(result, path, anchored=to != "mean") < 0.03


def test_a_gain_and_an_offset_change_nothing(stack, path):
    flickering = stack * np.linspace(1, 3, len(stack), dtype=np.float32)[:, None, None] + 0.5
    result = register_stack(flickering)
    assert result.success.all()
    assert error(result, path) < 0.03


# sources


def test_integers_iterators_and_arrays_give_the_same(stack):
    levels = ((stack - stack.min()) / np.ptp(stack) * 65535).astype(np.uint16)
    first = register_stack(levels)
    for to in ("first", "mean", 3):
        whole, passing = register_stack(levels, to=to), register_stack(iter(levels), to=to)
        np.testing.assert_array_equal(whole.dx, passing.dx)
    assert error(first, np.stack([register_stack(stack).dx, register_stack(stack).dy], axis=1)) < 1e-3


@pytest.mark.parametrize("to", ["first", "previous", "mean"])
def test_a_dask_array_is_computed_block_by_block(stack, to):
    """Nobody asks for the whole of it, and what is laid is computed when its turn comes."""
    dask = pytest.importorskip("dask.array", reason="dask is not installed")
    asked = []

    def part(frames, block_info=None):
        asked.append(block_info[0]["chunk-location"][0])
        return frames

    lazy = dask.from_array(stack, chunks=(6, *SHAPE)).map_blocks(part, dtype=stack.dtype, meta=stack[:0])
    asked.clear()
    result = register_stack(lazy, to=to)
    np.testing.assert_array_equal(result.dx, register_stack(stack, to=to).dx)
    if to != "mean":
        assert asked == [0, 1, 2, 3]
    asked.clear()
    laid = result.apply()
    next(laid)
    assert asked == [0]


def test_one_channel_is_estimated_and_all_are_laid(stack, path):
    other = np.random.default_rng(5).random(stack.shape).astype(np.float32)
    cube = np.stack([other, stack], axis=1)
    result = register_stack(cube, channel=1)
    assert error(result, path) < 0.03
    laid = list(result.apply())
    assert laid[7].shape == cube[7].shape
    np.testing.assert_array_equal(laid[7][0], shift(other[7], float(result.dx[7]), float(result.dy[7])))


@pytest.mark.parametrize("options", [{"to": "first"}, {"to": "previous"}, {"to": "previous", "lags": (1, 4)}])
def test_no_more_than_a_few_frames_are_held(stack, options):
    alive = []
    most = 0

    def source():
        nonlocal most
        for frame in stack:
            own = frame.copy()
            alive.append(weakref.ref(own))
            most = max(most, sum(one() is not None for one in alive))
            yield own

    assert register_stack(source(), **options).success.all()
    assert most <= 8 + 4  # the head, in which the first good one is looked for, and the partners of a frame


def test_the_callback_counts_frames(stack):
    seen = []
    register_stack(stack, callback=lambda done, total: seen.append((done, total)))
    assert seen == [(n + 1, 24) for n in range(24)]
    seen.clear()
    register_stack(iter(stack), callback=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (24, None)


# results


def test_iterating_gives_registrations(stack):
    result = register_stack(stack)
    each = list(result)
    assert all(isinstance(item, al.Registration) for item in each)
    assert [item.dx for item in each] == result.dx.tolist()
    np.testing.assert_array_equal(each[4].apply(stack[4]), list(result.apply())[4])
    assert each[4].stderr == tuple(result.stderr[4])
    json.loads(each[4].to_json())


def test_frames_laid_on_the_reference_agree_with_it(stack):
    result = register_stack(stack)
    inside = np.s_[12:-12, 12:-12]
    for frame, laid in zip(stack, result.apply(), strict=True):
        assert laid.dtype == frame.dtype
        assert np.corrcoef(laid[inside].ravel(), stack[0][inside].ravel())[0, 1] > 0.98


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_the_dtype_is_kept(stack, dtype):
    levels = (stack - stack.min()) / np.ptp(stack)
    levels = (levels * 255 if dtype is np.uint8 else levels * 60000 if dtype is np.uint16 else levels).astype(dtype)
    assert {frame.dtype for frame in register_stack(levels).apply()} == {np.dtype(dtype)}


def test_apply_wants_as_many_frames_of_one_size(stack):
    result = register_stack(iter(stack))
    with pytest.raises(InputError, match="give them again"):
        next(result.apply())
    with pytest.raises(InputError, match="23 frames"):
        list(result.apply(stack[:-1]))
    with pytest.raises(InputError, match="more than the 24"):
        list(result.apply(np.concatenate([stack, stack[:1]])))
    with pytest.raises(InputError, match="those registered"):
        next(result.apply(stack[:, :-1]))


def test_the_table_says_what_the_arrays_say(stack, tmp_path):
    result = register_stack(spoilt(stack)[0])
    result.to_csv(tmp_path / "drift.csv")
    rows = list(csv.DictReader((tmp_path / "drift.csv").read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [float(row["dx"]) for row in rows] == result.dx.tolist()
    assert [float(row["stderr_dy"]) for row in rows] == result.stderr[:, 1].tolist()
    assert [row["status"] for row in rows] == result.status
    with pytest.raises(InputError, match="exists already"):
        result.to_csv(tmp_path / "drift.csv")


def test_json_and_back(stack, tmp_path):
    bad, _ = spoilt(stack)
    result = register_stack(bad)
    text = result.to_json(tmp_path / "drift.json")
    assert (tmp_path / "drift.json").read_text() == text
    data = json.loads(text)
    assert (data["format"], data["convention"], data["version"]) == (FORMAT, CONVENTION, al.__version__)
    again = StackRegistration.from_json(text)
    for name in ("dx", "dy", "ncc", "blur", "window"):
        np.testing.assert_array_equal(getattr(again, name), getattr(result, name))
    np.testing.assert_allclose(again.covariance, result.covariance, rtol=1e-12)
    assert (again.status, again.message, again.shape, again.options) == (
        result.status, result.message, result.shape, result.options,
    )  # fmt: skip
    for one, other in zip(again.apply(bad), result.apply(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x", "convention": "y"}', "3"])
def test_what_is_not_the_json_of_a_stack(text):
    with pytest.raises(InputError, match="JSON"):
        StackRegistration.from_json(text)


def test_the_drift_is_drawn(stack):
    bad, names = spoilt(stack)
    result = register_stack(bad)
    ax = result.plot()
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), result.dx)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), result.dy)
    assert ax.lines[2].get_xdata().tolist() == sorted(names)


def test_a_line_for_people(stack):
    text = str(register_stack(spoilt(stack)[0]))
    assert "24 frames" in text
    assert "6 bridged" in text


# the mean


def test_the_average_of_shifted_frames_is_the_scene():
    path = walk(30, seed=4, step=0.8)
    found = average(made(path, noise=0.1), [tuple(place) for place in path], 0.1)
    inside = np.s_[20:-20, 20:-20]
    residual = found.image[inside] - scene()[inside]
    assert residual.std() < 0.03


# what is refused


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"to": "last"}, "to is 'last'"),
        ({"to": 24}, "to is 24"),
        ({"to": -25}, "to is -25"),
        ({"to": np.zeros((3, 3))}, "8|shape|one grey level"),
        ({"to": np.random.default_rng(0).random((50, 60))}, "to has shape"),
        ({"to": np.full(SHAPE, 0.5)}, "one grey level"),
        ({"channel": 1}, "channel is 1"),
        ({"channel": -1}, "channel is -1"),
        ({"max_shift": 0}, "max_shift is 0"),
        ({"max_shift": "far"}, "max_shift"),
        ({"lags": ()}, "lags is empty"),
        ({"lags": (0,)}, "lags is 0"),
        ({"passes": 0}, "passes is 0"),
        ({"max_blur": -1}, "max_blur is -1"),
        ({"bridge": "guess"}, "bridge is 'guess'"),
        ({"border": 0.5}, "border is 0.5"),
    ],
)
def test_bad_arguments(stack, options, says):
    with pytest.raises(InputError, match=says):
        register_stack(stack, **options)


def test_nothing_but_blank_frames_is_refused():
    for to in ("first", "mean", "previous"):
        with pytest.raises(InputError, match="blank"):
            register_stack(np.zeros((3, 40, 40)), to=to)


def test_frames_beyond_max_shift_are_told(stack):
    path = np.array([[0, 0], [1, 0], [15, 0], [1.5, 0.0]])
    result = register_stack(made(path), max_shift=6)
    assert result.success.tolist() == [True, True, False, True]


def test_a_single_frame():
    for to in ("first", "previous", "mean"):
        result = register_stack(scene()[None], to=to)
        assert (len(result), result.success.tolist()) == (1, [True])
        # Newton's steps on a template end below 3e-4 px, each then squares the error
        np.testing.assert_allclose([result.dx[0], result.dy[0]], 0, atol=1e-5)
