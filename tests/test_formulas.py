"""The oracle is judged first: by hand, by its own derivation at the ties, and by differences of its values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alignment import formulas

OFF_THE_INTEGERS = [(0.25, 0.5), (1.3, -0.7), (-2.6, 1.1), (0.01, 0.99), (-0.5, -0.5), (3.7, 2.2)]
AT_THE_INTEGERS = [(0, 0), (1, -1), (-2, 1), (3, 2)]


@pytest.fixture(scope="module")
def grids():
    random = np.random.default_rng(3)
    return random.random((4, 5)).tolist(), random.random((4, 5)).tolist()


def at(A, n, m):
    return A[n][m] if 0 <= n < len(A) and 0 <= m < len(A[0]) else 0.0


@pytest.mark.parametrize(("t", "k"), [(0, 1), (0.25, 0.75), (-0.25, 0.75), (1, 0), (-1, 0), (1.5, 0), (-7, 0)])
def test_the_hat(t, k):
    assert formulas.kernel(t) == k


@pytest.mark.parametrize(
    ("reading", "signs"),
    [
        ("literal", [0, 0, 1, 0, 0]),
        ("right", [0, 0, -1, 1, 0]),
        ("left", [0, -1, 1, 0, 0]),
        ("central", [0, -0.5, 0, 0.5, 0]),
    ],
)
def test_the_indicator_at_a_tie(reading, signs):
    assert [formulas.indicator(m, 2.0, reading) for m in range(5)] == signs


@pytest.mark.parametrize("reading", formulas.READINGS)
def test_the_indicator_off_the_integers_is_the_slope_of_the_hat(reading):
    for xs in (-0.75, 0.5, 2.25):
        for m in range(-3, 5):
            slope = (formulas.kernel(xs + 2**-8 - m) - formulas.kernel(xs - 2**-8 - m)) / 2**-7
            assert formulas.indicator(m, xs, reading) == slope


def test_an_unknown_reading_is_refused():
    with pytest.raises(ValueError, match=r"reading is 'middle'; give one of 'literal', 'right', 'left', 'central'"):
        formulas.indicator(0, 0.0, "middle")


def test_the_double_sum_is_the_mean_of_four_neighbours(grids, agree):
    A, _ = grids
    for xs, ys in np.random.default_rng(0).uniform(-2, 6, (60, 2)):
        m, n = math.floor(xs), math.floor(ys)
        a, b = xs - m, ys - n
        upper = (1 - a) * at(A, n, m) + a * at(A, n, m + 1)
        lower = (1 - a) * at(A, n + 1, m) + a * at(A, n + 1, m + 1)
        agree(formulas.sample(A, xs, ys), (1 - b) * upper + b * lower, scale=1, within=1e-15, name="sample")


def test_at_pixels_the_sample_is_the_image(grids):
    A, _ = grids
    assert [[formulas.sample(A, x, y) for x in range(-1, 6)] for y in range(-1, 5)] == [
        [at(A, y, x) for x in range(-1, 6)] for y in range(-1, 5)
    ]


@pytest.mark.parametrize(("dx", "dy"), OFF_THE_INTEGERS)
def test_all_readings_agree_off_the_integers(grids, dx, dy):
    A, B = grids
    for gradient in (formulas.mse_gradient, formulas.ncc_gradient):
        by_reading = {gradient(A, B, dx, dy, reading=reading) for reading in formulas.READINGS}
        assert len(by_reading) == 1
        assert next(iter(by_reading)) != (0, 0)


@pytest.mark.parametrize("xs", [-1, 0, 2, 4, 5])
@pytest.mark.parametrize("ys", [1, 1.25, 3])
def test_the_readings_at_a_tie_are_what_the_derivation_says(grids, agree, xs, ys):
    A, _ = grids

    def column(m):
        n = math.floor(ys)
        return (n + 1 - ys) * at(A, n, m) + (ys - n) * at(A, n + 1, m)

    expected = {
        "literal": column(xs),
        "right": column(xs + 1) - column(xs),
        "left": column(xs) - column(xs - 1),
        "central": (column(xs + 1) - column(xs - 1)) / 2,
    }
    for reading, slope in expected.items():
        along_x = formulas.sample_slope_x(A, xs, ys, reading)
        agree(along_x, slope, scale=1, within=1e-15, name="readings at a tie")
        transposed = [list(row) for row in zip(*A, strict=True)]
        assert formulas.sample_slope_y(transposed, ys, xs, reading) == along_x


def test_the_literal_reading_is_no_slope():
    flat = [[7.0] * 5 for _ in range(5)]
    for slope in (formulas.sample_slope_x, formulas.sample_slope_y):
        # a constant image has slope zero, the literal reading returns its grey level
        assert [slope(flat, 2, 2, reading) for reading in formulas.READINGS] == [7, 0, 0, 0]
        assert slope(flat, 2.5, 2.5, "literal") == 0
    rising, mirrored = [[1.0, 4.0, 9.0]], [[9.0, 4.0, 1.0]]
    assert formulas.sample_slope_x(rising, 1, 0, "right") == -formulas.sample_slope_x(mirrored, 1, 0, "left") == 5
    assert formulas.sample_slope_x(rising, 1, 0, "central") == -formulas.sample_slope_x(mirrored, 1, 0, "central") == 4
    assert formulas.sample_slope_x(rising, 1, 0, "literal") == formulas.sample_slope_x(mirrored, 1, 0, "literal") == 4


@pytest.mark.parametrize(("reading", "towards"), [("right", 1), ("left", -1)])
@pytest.mark.parametrize(("dx", "dy"), AT_THE_INTEGERS)
def test_one_sided_readings_are_limits(grids, agree, reading, towards, dx, dy):
    """Inside a cell a slope along x does not depend on xs: the limit is reached at once."""
    A, _ = grids
    for near in (0.5, 2**-20):
        limit = formulas.sample_slope_x(A, 2 + dx + towards * near, 1 + dy + 0.25)
        slope = formulas.sample_slope_x(A, 2 + dx, 1 + dy + 0.25, reading)
        agree(slope, limit, scale=1, within=1e-15, name="one-sided limits")


@pytest.mark.parametrize("window", [None, (1, 4, 0, 3)])
@pytest.mark.parametrize(("dx", "dy"), OFF_THE_INTEGERS[:4])
def test_a_central_difference_of_the_mse_is_exact_inside_a_cell(grids, agree, dx, dy, window):
    """Along each axis the MSE is a parabola there: no truncation error at any step that stays inside."""
    A, B = grids
    h = 2**-7
    by_differences = [
        (formulas.mse(A, B, dx + h, dy, window) - formulas.mse(A, B, dx - h, dy, window)) / (2 * h),
        (formulas.mse(A, B, dx, dy + h, window) - formulas.mse(A, B, dx, dy - h, window)) / (2 * h),
    ]
    gradient = formulas.mse_gradient(A, B, dx, dy, window)
    agree(gradient, by_differences, scale=1, within=2e-14, name="mse gradient against central differences")


@pytest.mark.parametrize("window", [None, (1, 4, 0, 3)])
@pytest.mark.parametrize(("dx", "dy"), [(0.25, 0.5), (1.3, -0.7), (-1.6, 1.1)])
def test_the_ncc_gradient_is_the_limit_of_central_differences(grids, agree, dx, dy, window):
    A, B = grids

    def difference(h, x, y):
        step = (formulas.ncc(A, B, dx + h * x, dy + h * y, window), formulas.ncc(A, B, dx - h * x, dy - h * y, window))
        return (step[0] - step[1]) / (2 * h)

    def limit(x, y, h=2**-7):
        d = [difference(h / 2**i, x, y) for i in range(3)]
        once = [(4 * d[i + 1] - d[i]) / 3 for i in range(2)]
        return (16 * once[1] - once[0]) / 15

    gradient = formulas.ncc_gradient(A, B, dx, dy, window)
    agree(gradient, [limit(1, 0), limit(0, 1)], scale=1, within=2e-11, name="ncc gradient against central differences")


@pytest.mark.parametrize(("dx", "dy"), AT_THE_INTEGERS)
def test_the_central_reading_is_what_a_central_difference_converges_to(grids, agree, dx, dy):
    """A parabola on both sides: the difference across the kink is linear in h, and two steps give its limit."""
    A, B = grids

    def limit(x, y, h=2**-6):
        d = [(formulas.mse(A, B, dx + t * x, dy + t * y) - formulas.mse(A, B, dx - t * x, dy - t * y)) / (2 * t)
             for t in (h, h / 2)]  # fmt: skip
        return 2 * d[1] - d[0]

    gradient = formulas.mse_gradient(A, B, dx, dy, reading="central")
    agree(gradient, [limit(1, 0), limit(0, 1)], scale=1, within=1e-13, name="central reading across the kink")
    sides = [formulas.mse_gradient(A, B, dx, dy, reading=side) for side in ("right", "left")]
    assert sides[0] != sides[1]
    agree(gradient, np.mean(sides, axis=0), scale=1, within=1e-15, name="central is the mean of both sides")


def test_mse_and_its_gradient_by_hand():
    A, B = [[1.0, 3.0, 7.0]], [[1.5, 4.0, 0.0]]
    # at (0.5, 0) the row reads 2, 5, 3.5 (half of the last pixel); errors 0.5, 1, 3.5
    assert formulas.mse(A, B, 0.5, 0) == (0.25 + 1 + 12.25) / 3
    # slopes along x: 2, 4, -7; along y, down to the zeros below: -2, -5, -3.5
    expected = (2 * (1 + 4 - 24.5) / 3, 2 * (-1 - 5 - 12.25) / 3)
    assert formulas.mse_gradient(A, B, 0.5, 0) == expected
    assert formulas.mse(A, B, 0.5, 0, (0, 1, 0, 2)) == 1.25 / 2
    assert formulas.mse_gradient(A, B, 0.5, 0, (0, 1, 0, 2)) == (5.0, -6.0)


def test_ncc_and_its_gradient_by_hand():
    # centred (-1, 0, 1) and (-1, 1, 0): rho = 1 / 2, both of length sqrt(2)
    A, B = [[1.0, 2.0, 3.0]], [[0.0, 2.0, 1.0]]
    assert formulas.ncc(A, B, 0, 0) == pytest.approx(0.5, rel=1e-15)
    # slopes on the right 1, 1, -3: (1/2) [ sum Bt dA - rho sum At dA ] = (1/2) [0 - (1/2)(-4)]
    assert formulas.ncc_gradient(A, B, 0, 0)[0] == pytest.approx(1.0, rel=1e-15)
    # slopes on the left 1, 1, 1: no structure, no change
    assert formulas.ncc_gradient(A, B, 0, 0, reading="left")[0] == pytest.approx(0.0, abs=1e-15)


def test_ncc_of_related_images():
    A = [[1.0, 2.0], [4.0, 8.0]]
    assert formulas.ncc(A, [[3 * a + 5 for a in row] for row in A], 0, 0) == pytest.approx(1, rel=1e-15)
    assert formulas.ncc(A, [[-3 * a + 5 for a in row] for row in A], 0, 0) == pytest.approx(-1, rel=1e-15)


@pytest.mark.parametrize("tiny", [-1e-17, -1e-300, 1e-17])
def test_next_to_an_integer_the_slope_is_still_that_of_one_cell(tiny):
    A = [[3.0, 5.0, 9.0]]
    for reading in ("right", "left", "central"):
        assert formulas.sample_slope_x(A, tiny, 0, reading) == (3 if tiny < 0 else 2)
