"""The loops that run over pixels, one by one: their sums against plain loops, and the dtypes they work in."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import _kernels

KINDS = [(np.float64, 1e-14), (np.float32, 2e-6)]
KINDS_IDS = ["float64", "float32"]

# rectangles of the reference, and where the upper left neighbour of its pixel (0, 0) lies in the moving image
RECTANGLE, ANOTHER, ORIGIN = (1, 4, 2, 6), (0, 2, 3, 8), (1, -1)
RECTANGLES = np.array([RECTANGLE, ANOTHER])
FRACTIONS = [(0.0, 0.0), (0.25, 0.0), (0.0, 0.75), (0.3, 0.6), (1.0, 0.5), (1.0, 1.0)]
UPPER = [(i, j) for i in range(4) for j in range(i, 4)]


@pytest.fixture(scope="module")
def pair(scene):
    """Return a reference and a moving image of different shapes: the kernels do not ask for equal ones."""
    return scene((6, 8), 40), scene((7, 9), 41)


@pytest.fixture(scope="module")
def masks():
    used = np.ones((6, 8), np.uint8)
    usable = np.ones((6, 8), np.uint8)
    used[2, 3] = used[0, 0] = 0
    usable[2, 2] = usable[4, 4] = usable[5, 7] = 0
    return used, usable


def pixels(pair, masks=None, rectangle=RECTANGLE):
    """Yield B and the four neighbours of every pixel of the rectangle that the masks leave."""
    B, A = (image.astype(np.float64) for image in pair)
    top, bottom, left, right = rectangle
    for y in range(top, bottom):
        for x in range(left, right):
            n, m = ORIGIN[0] + y, ORIGIN[1] + x
            if masks is None or (masks[0][y, x] and masks[1][n, m]):
                yield B[y, x], np.array([A[n, m], A[n, m + 1], A[n + 1, m], A[n + 1, m + 1]])


def star(around, a, b):
    """Return the interpolated grey level and its slopes along x and y."""
    p, q, s, t = around
    level = (1 - a) * (1 - b) * p + a * (1 - b) * q + (1 - a) * b * s + a * b * t
    return level, (1 - b) * (q - p) + b * (t - s), (1 - a) * (s - p) + a * (t - q)


def as_kind(pair, kind, fraction=()):
    return [image.astype(kind) for image in pair], tuple(kind(f) for f in fraction)


@pytest.mark.parametrize(("kind", "within"), KINDS, ids=KINDS_IDS)
@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_sums_mse(pair, masks, agree, kind, within, fraction, masked):
    given = masks if masked else None
    (B, A), typed = as_kind(pair, kind, fraction)
    got = _kernels.sums_mse(B, A, RECTANGLES, ORIGIN, typed, *(given or (None, None)))
    want = np.zeros((2, 4))
    for k, rectangle in enumerate((RECTANGLE, ANOTHER)):
        for target, around in pixels((B, A), given, rectangle):
            level, slope_x, slope_y = star(around, *fraction)
            e = level - target
            want[k] += [e * e, e * slope_x, e * slope_y, 1]
    assert want[:, 3].tolist() == ([9, 9] if masked else [12, 10])
    assert got.dtype == np.float64
    agree(got, want, scale=want[:, :1] + 1, within=within, name=f"sums_mse {kind.__name__}")
    np.testing.assert_array_equal(got[:, 3], want[:, 3])


@pytest.mark.parametrize(("kind", "within"), KINDS, ids=KINDS_IDS)
@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("offsets", [(0.0, 0.0), (0.5, -0.25)])
def test_sums_ncc(pair, masks, agree, kind, within, fraction, masked, offsets):
    given = masks if masked else None
    (B, A), typed = as_kind(pair, kind, fraction)
    got = _kernels.sums_ncc(B, A, RECTANGLES, ORIGIN, typed, tuple(map(kind, offsets)), *(given or (None, None)))
    want = np.zeros((2, 12))
    for k, rectangle in enumerate((RECTANGLE, ANOTHER)):
        for target, around in pixels((B, A), given, rectangle):
            level, slope_x, slope_y = star(around, *fraction)
            u, v = level - offsets[0], target - offsets[1]
            want[k] += [
                u,
                v,
                u * u,
                u * v,
                v * v,
                slope_x,
                slope_y,
                *(u * np.array([slope_x, slope_y])),
                *(v * np.array([slope_x, slope_y])),
                1,
            ]
    assert got.dtype == np.float64
    agree(got, want, scale=want[:, 11:], within=within, name=f"sums_ncc {kind.__name__}")
    np.testing.assert_array_equal(got[:, 11], want[:, 11])


@pytest.mark.parametrize(("kind", "within"), KINDS, ids=KINDS_IDS)
@pytest.mark.parametrize("masked", [False, True])
def test_cell_moments_mse(pair, masks, agree, kind, within, masked):
    given = masks if masked else None
    (B, A), _ = as_kind(pair, kind)
    got = _kernels.cell_moments_mse(B, A, RECTANGLE, ORIGIN, *(given or (None, None)))
    want = np.zeros(11)
    for target, around in pixels((B, A), given):
        d = around - target
        want += [*(d[i] * d[j] for i, j in UPPER), 1]
    assert got.dtype == np.float64
    agree(got, want, scale=want[10], within=within, name=f"cell_moments_mse {kind.__name__}")
    assert got[10] == want[10]


@pytest.mark.parametrize(("kind", "within"), KINDS, ids=KINDS_IDS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("offsets", [(0.0, 0.0), (0.5, -0.25)])
def test_cell_moments_ncc(pair, masks, agree, kind, within, masked, offsets):
    given = masks if masked else None
    (B, A), _ = as_kind(pair, kind)
    got = _kernels.cell_moments_ncc(B, A, RECTANGLE, ORIGIN, tuple(map(kind, offsets)), *(given or (None, None)))
    want = np.zeros(21)
    for target, around in pixels((B, A), given):
        u, v = around - offsets[0], target - offsets[1]
        want += [*(u[i] * u[j] for i, j in UPPER), *(u * v), *u, v, v * v, 1]
    assert got.dtype == np.float64
    agree(got, want, scale=want[20], within=within, name=f"cell_moments_ncc {kind.__name__}")
    assert got[20] == want[20]


def test_rows_are_added_in_float64():
    """In float32, 2^24 + 1 is 2^24: a tall image shows in which precision its rows are added."""
    tall = np.ones((1001, 2), np.float32)
    tall[0] = 4096
    nothing = np.zeros_like(tall)
    rectangle, origin, zeros = (0, 1000, 0, 1), (0, 0), (np.float32(0), np.float32(0))
    rectangles = np.array([rectangle])
    exact = 4096.0**2 + 999
    assert _kernels.sums_mse(nothing, tall, rectangles, origin, zeros, None, None)[0, 0] == exact
    assert _kernels.sums_ncc(nothing, tall, rectangles, origin, zeros, zeros, None, None)[0, 2] == exact
    assert _kernels.cell_moments_mse(nothing, tall, rectangle, origin, None, None)[0] == exact
    assert _kernels.cell_moments_ncc(nothing, tall, rectangle, origin, zeros, None, None)[0] == exact


@pytest.mark.parametrize("kind", [np.float64, np.float32], ids=KINDS_IDS)
def test_interpolate(scene, agree, kind):
    A = scene((3, 4), 42, kind)
    upper, lower = np.array([2, -1, 0]), np.array([-1, 0, 1])
    left, right = np.array([1, 3, -1, -1]), np.array([2, -1, 0, -1])
    weights = tuple(map(kind, (0.5, -1.25, 2.0, 0.75)))
    out = np.full((3, 4), np.nan, kind)
    _kernels.interpolate(A, upper, lower, left, right, weights, out)

    def level(n, m):
        return float(A[n, m]) if n >= 0 and m >= 0 else 0.0

    for y in range(3):
        for x in range(4):
            four = [level(n, m) for n in (upper[y], lower[y]) for m in (left[x], right[x])]
            want = sum(float(w) * value for w, value in zip(weights, four, strict=True))
            within = 1e-15 if kind is np.float64 else 2e-7
            agree(out[y, x], want, scale=5, within=within, name=f"interpolate {kind.__name__}")


def test_interpolate_lets_what_is_not_finite_through():
    A = np.array([[1.0, np.nan, np.inf, 2.0]])
    zero, columns = np.zeros(1, int), np.arange(4)
    out = np.empty((1, 4))
    with np.errstate(invalid="ignore"):
        _kernels.interpolate(A, zero, zero, columns, columns, (1.0, 0.0, 0.0, 0.0), out)
    np.testing.assert_array_equal(np.isfinite(out), [[True, False, False, True]])


def test_sums_let_what_is_not_finite_through():
    """Without nnan and ninf among the compiler's flags a NaN in an image is a NaN in the sum."""
    B, A = np.zeros((3, 5)), np.ones((3, 5))
    A[1, 2] = np.nan
    zeros = (0.0, 0.0)
    assert np.isnan(_kernels.sums_mse(B, A, np.array([(0, 2, 0, 4)]), (0, 0), zeros, None, None)[0, 0])
    assert np.isnan(_kernels.sums_ncc(B, A, np.array([(0, 2, 0, 4)]), (0, 0), zeros, zeros, None, None)[0, 2])
    assert np.isnan(_kernels.cell_moments_mse(B, A, (0, 2, 0, 4), (0, 0), None, None)[0])
    assert not {"nnan", "ninf", "fast"} & set(_kernels._FASTMATH)


def test_sums_of_boxes():
    image = np.random.default_rng(5).random((9, 11))
    got = np.empty((6, 4, 3))
    _kernels.sums_of_boxes(image, 5, 8, got)
    right, below, across = image[:-1, 1:], image[1:, :-1], image[1:, 1:]
    own = image[:-1, :-1]
    for field, sums in zip((own, own**2, own * right, own * below, own * across, right * below), got, strict=True):
        want = [[field[j : j + 5, i : i + 8].sum() for i in range(3)] for j in range(4)]
        np.testing.assert_allclose(sums, want, rtol=1e-14)


@pytest.mark.parametrize(("height", "rows"), [(4, 1), (8, 5)])
def test_correlate_rows(height, rows):
    """Of complex fields, without a conjugate."""
    A, B = np.random.default_rng(7).normal(size=(2, 2, height + rows - 1, 6))
    got = np.empty((2, rows, 6))
    _kernels.correlate_rows(A, np.ascontiguousarray(B[:, :height]), got)
    u, v = A[0] + 1j * A[1], (B[0] + 1j * B[1])[:height]
    want = np.array([(u[j : j + height] * v).sum(axis=0) for j in range(rows)])
    np.testing.assert_allclose(got[0] + 1j * got[1], want, rtol=1e-13, atol=1e-14)


def test_products_of_corners():
    image = np.random.default_rng(6).random((9, 11))
    boxes, got = np.empty((6, 4, 3)), np.empty((3, 2, 4, 4))
    _kernels.sums_of_boxes(image, 5, 8, boxes)
    _kernels.products_of_corners(boxes, got)
    for j, i in np.ndindex(3, 2):
        corners = [image[j + y : j + y + 5, i + x : i + x + 8] for y in (0, 1) for x in (0, 1)]
        want = [[(one * other).sum() for other in corners] for one in corners]
        np.testing.assert_allclose(got[j, i], want, rtol=1e-14)
