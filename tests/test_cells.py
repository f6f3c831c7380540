"""The exact cell: a polynomial made of one pass, against the pass itself, exact rational arithmetic and dense grids."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest

from alignment import InputError
from alignment.cells import Biquadratic, MomentsMSE, MomentsNCC, linear_form, lowest, quadratic_form, symmetric, weights
from alignment.losses import MSE, NCC

KINDS = {"mse": MSE, "ncc": NCC}
both = pytest.mark.parametrize("loss", ["mse", "ncc"])

# corners, edges, middle, and points beside the borders
FRACTIONS = [0.0, 2.0**-30, 0.125, 0.3, 0.5, 0.75, 0.987, 1 - 2.0**-30]
# within the frame, partly beyond it on each side, and with a single row or column left
CELLS = [(0, 0), (-1, -1), (2, -3), (-6, 4), (9, 0), (-11, 0), (0, 7), (0, -9), (10, 8)]


def scales(moments, a, b):
    """Return what errors of the value and of the gradient are relative to: see conftest."""
    if isinstance(moments, MomentsMSE):
        size = moments.G.diagonal().max() / moments.n
        return size, np.full(2, size)
    w = weights(a, b)
    lengths = np.sqrt(moments.V.diagonal().clip(0))
    return 1.0, np.array([np.abs(w.a) @ lengths, np.abs(w.b) @ lengths]) / np.sqrt(w.w @ moments.V @ w.w)


def options(kind, scene, shape):
    """Return one way of choosing pixels."""
    masks = {"reference_mask": scene(shape, 90) < 0.8, "moving_mask": scene(shape, 91) < 0.9}
    return {"frame": {}, "window": {"domain": (1, 8, 2, 9)}, "masks": masks,
            "masked window": masks | {"domain": (1, 8, 2, 9)}}[kind]  # fmt: skip


# --- against the direct pass ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "within"), [(np.float64, 1e-12), (np.float32, 1e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("chosen", ["frame", "window", "masks", "masked window"])
@both
def test_a_cell_equals_the_direct_pass_at_every_point(agree, scene, loss, chosen, dtype, within):
    B, A = scene((9, 11), 1, dtype), scene((9, 11), 2, dtype)
    chosen = options(chosen, scene, (9, 11))
    cells, direct = (KINDS[loss](B, A, evaluation=how, **chosen) for how in ("cells", "direct"))
    compared = 0
    for kx, ky in CELLS:
        try:
            moments = cells.cell(kx, ky)
            expansion = moments.expand(*np.meshgrid(FRACTIONS, FRACTIONS))
        except InputError:  # the masks or the window leave nothing there
            continue
        for (j, b), (i, a) in product(enumerate(FRACTIONS), repeat=2):
            value, gradient = direct.value_and_gradient(kx + a, ky + b)
            point, size = moments.at(a, b), scales(moments, a, b)
            for way, got in (("at", point), ("expand", [part[j, i] for part in expansion])):
                agree(got[0], value, scale=size[0], within=within, name=f"{loss} cell value, {way}, {dtype.__name__}")
                agree(
                    got[1:3], gradient, scale=size[1], within=within, name=f"{loss} cell slope, {way}, {dtype.__name__}"
                )
        compared += 1
    assert compared >= 4


@both
def test_one_point_and_many_points_are_the_same_to_rounding(agree, scene, loss):
    moments = KINDS[loss](scene((9, 11), 3), scene((9, 11), 4)).cell(-2, 1)
    a, b = np.random.default_rng(0).random((2, 5, 8))
    expansion = moments.expand(a, b)
    assert expansion.value.shape == (5, 8)
    points = np.array([[moments.at(*p) for p in zip(*row, strict=True)] for row in zip(a, b, strict=True)])
    for n, part in enumerate(expansion):
        agree(points[..., n], part, scale=np.abs(part).max(), within=1e-13, name=f"{loss} at against expand")


@both
def test_two_cells_meet_without_a_gap(agree, scene, loss):
    made = KINDS[loss](scene((9, 11), 5), scene((9, 11), 6))
    t = np.linspace(0, 1, 9)
    for kx, ky in [(0, 0), (-3, 2), (-1, -1), (8, 0)]:
        here, right, below = made.cell(kx, ky), made.cell(kx + 1, ky), made.cell(kx, ky + 1)
        agree(here.expand(1, t).value, right.expand(0, t).value, scale=1, within=1e-13, name=f"{loss} across a border")
        agree(here.expand(t, 1).value, below.expand(t, 0).value, scale=1, within=1e-13, name=f"{loss} across a border")


def test_beyond_the_frame_only_zeros_are_compared(agree, scene):
    B, A = scene((5, 7), 7), scene((5, 7), 8)
    for cell in [(7, 0), (-8, 0), (0, 5), (0, -6), (100, -100)]:
        value, *slopes = MSE(B, A).cell(*cell).at(0.3, 0.8)
        agree(value, np.mean(B**2), scale=np.mean(B**2), within=1e-14, name="mse beyond the frame")
        assert np.abs(slopes).max() <= 1e-15
        moments = NCC(B, A).cell(*cell)
        with pytest.raises(InputError, match=r"interpolated moving image is constant over the domain"):
            moments.at(0.3, 0.8)
        with pytest.raises(InputError, match=r"interpolated moving image is constant over the domain"):
            moments.expand(0.3, [0.1, 0.8])


def test_a_correlation_is_undefined_at_one_point_of_a_cell_only():
    """Columns +1, -1, +1, ... average to a constant in the middle of the cell, and nowhere else."""
    A = np.resize([1.0, -1.0], (8, 8))
    made = NCC(np.random.default_rng(1).random((8, 8)), A, domain=(2, 6, 2, 6))
    assert abs(made.cell(0, 0).at(0.25, 0.5).value) < 1
    for undefined in (0.5, [0.25, 0.5]):
        with pytest.raises(InputError, match=r"use a domain with structure, or MSE"):
            made.cell(0, 0).expand(undefined, 0.5)


# --- what a pass costs ------------------------------------------------------------------------------------------------


@both
def test_a_cell_is_one_pass_however_often_it_is_asked(scene, loss):
    made = KINDS[loss](scene((9, 11), 11), scene((9, 11), 12))
    for point in [(0.0, 0.0), (0.5, 0.9), (0.99, 0.01)]:
        made.value_and_gradient(*point)
        made.hessian(*point)
    assert made.cell(0, 0) is made.cell(0, 0)
    assert made.passes == 1
    made.clear_cache()
    made.hessian(0.5, 0.5)
    assert made.passes == 2


@both
def test_a_landscape_costs_one_pass_for_each_cell_that_it_touches(agree, scene, loss):
    B, A = scene((9, 11), 13), scene((9, 11), 14)
    made, direct = KINDS[loss](B, A), KINDS[loss](B, A, evaluation="direct")
    dx, dy = np.linspace(-1.3, 1.6, 24), np.linspace(0.1, 1.9, 17)
    surface = made.landscape(dx, dy)
    assert surface.shape == (17, 24)
    assert made.passes == 4 * 2
    agree(surface, [[direct.value(x, y) for x in dx] for y in dy], scale=surface.max(), within=1e-12, name="landscape")
    made.landscape(dx, dy)
    assert made.passes == 4 * 2


@pytest.mark.parametrize("chosen", ["frame", "window", "masks"])
@both
def test_the_shares_of_any_blocks_add_up_to_the_gradient_of_the_cell(agree, scene, loss, chosen):
    made = KINDS[loss](scene((9, 11), 15), scene((9, 11), 16), **options(chosen, scene, (9, 11)))
    top, bottom, left, right = made.domain
    for (dx, dy), n in product([(0.25, 0.5), (-2.4, 1.8), (5.1, -3.7)], [1, 2, 5]):
        rows, columns = (np.linspace(*ends, n + 1).astype(int).tolist() for ends in ((top, bottom), (left, right)))
        blocks = [(*y, *x) for y, x in product(pairwise(rows), pairwise(columns))]
        shares = made.gradient_by_blocks(dx, dy, blocks=blocks)
        assert shares.shape == (n * n, 2)
        size = np.abs(shares).sum()
        agree(shares.sum(axis=0), made.value_and_gradient(dx, dy)[1], scale=size, within=1e-12, name=f"{loss} blocks")


# --- curvature --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", ["frame", "window", "masks"])
@both
def test_the_hessian_is_the_slope_of_the_direct_gradient(agree, scene, loss, chosen):
    """By differences extrapolated to a vanishing step; the MSE's are exact at any, its gradient being quadratic."""
    B, A = scene((9, 11), 9), scene((9, 11), 10)
    chosen = options(chosen, scene, (9, 11))
    direct, cells = (KINDS[loss](B, A, evaluation=how, **chosen) for how in ("direct", "cells"))

    def slope(dx, dy, axis, h):
        step = h * np.eye(2)[axis]
        up, down = (direct.value_and_gradient(*(np.array([dx, dy]) + s))[1] for s in (step, -step))
        return (up - down) / (2 * h)

    for (kx, ky), (a, b) in product([(0, 0), (-2, 1), (5, -4)], [(0.5, 0.5), (0.22, 0.71), (0.85, 0.3)]):
        hessian = cells.hessian(kx + a, ky + b)
        for axis in (0, 1):
            if loss == "mse":
                want = slope(kx + a, ky + b, axis, 0.125)
            else:
                coarse, middle, fine = (slope(kx + a, ky + b, axis, 0.01 / 2**n) for n in range(3))
                once = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
                want = (16 * once[1] - once[0]) / 15
            within = 1e-12 if loss == "mse" else 1e-9
            agree(hessian[axis], want, scale=np.abs(hessian).max(), within=within, name=f"{loss} hessian of a cell")


class Polynomial(dict):
    """A polynomial in a and b with exact coefficients: {(power of a, power of b): coefficient}."""

    def __add__(self, other):
        return Polynomial({k: self.get(k, 0) + other.get(k, 0) for k in self.keys() | other.keys()})

    def __mul__(self, other):
        out = Polynomial()
        if not isinstance(other, Polynomial):
            return Polynomial({k: v * other for k, v in self.items()})
        for (i, j), u in self.items():
            for (k, m), v in other.items():
                out[i + k, j + m] = out.get((i + k, j + m), 0) + u * v
        return out

    def slope(self, axis):
        lower = (1, 0) if axis == 0 else (0, 1)
        return Polynomial(
            {(i - lower[0], j - lower[1]): c * (i, j)[axis] for (i, j), c in self.items() if (i, j)[axis]}
        )

    def __call__(self, a, b):
        return sum((c * Fraction(a) ** i * Fraction(b) ** j for (i, j), c in self.items()), Fraction(0))


# (1-a)(1-b), a(1-b), (1-a)b, ab
WEIGHTS = [
    Polynomial({(0, 0): 1, (1, 0): -1, (0, 1): -1, (1, 1): 1}),
    Polynomial({(1, 0): 1, (1, 1): -1}),
    Polynomial({(0, 1): 1, (1, 1): -1}),
    Polynomial({(1, 1): 1}),
]
PARTS = [(), (0,), (1,), (0, 0), (0, 1), (1, 1)]
POINTS = [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.5, 0.25), (0.125, 0.875), (0.8125, 0.375)]


def symbolic(corners):
    """Return sum_i w_i A_i of every pixel, a polynomial each."""
    return [sum((w * int(level) for w, level in zip(WEIGHTS, pixel, strict=True)), Polynomial()) for pixel in corners]


def integer_images(seed):
    """Return a small pair of whole grey levels, and the four corners of cell (1, -1) at every pixel of a window."""
    B, A = np.random.default_rng(seed).integers(-9, 10, (2, 6, 7))
    rows, columns = range(1, 5), range(1, 5)
    corners = [(A[y - 1, x + 1], A[y - 1, x + 2], A[y, x + 1], A[y, x + 2]) for y in rows for x in columns]
    return B.astype(float), A.astype(float), [int(B[y, x]) for y in rows for x in columns], corners


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mse_is_the_polynomial_that_algebra_gives(agree, seed):
    B, A, target, corners = integer_images(seed)
    exact = Polynomial()
    for star, level in zip(symbolic(corners), target, strict=True):
        error = star + Polynomial({(0, 0): -level})
        exact += error * error * Fraction(1, len(target))
    moments = MSE(B, A, domain=(1, 5, 1, 5)).cell(1, -1)
    for a, b in POINTS:
        for part, way in product(range(6), ("at", "expand")):
            want = exact
            for axis in PARTS[part]:
                want = want.slope(axis)
            agree(getattr(moments, way)(a, b)[part], float(want(a, b)), scale=100, within=1e-14, name="mse by algebra")


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_the_ncc_is_what_algebra_gives(agree, seed):
    """Its square R = c^2 / (v |B|^2) is a quotient of polynomials; L = -+ sqrt(R), L_p = R_p / 2L, and so on."""
    B, A, target, corners = integer_images(seed)
    stars, n = symbolic(corners), len(target)
    mean = sum(stars, Polynomial()) * Fraction(1, n)
    centred = [star + mean * -1 for star in stars]
    c = sum((star * level for star, level in zip(centred, target, strict=True)), Polynomial())
    norm = sum(Fraction(level) ** 2 for level in target) - Fraction(sum(target)) ** 2 / n
    top, bottom = c * c, sum((star * star for star in centred), Polynomial()) * norm

    def square(a, b):
        """Return R, R_a, R_b, R_aa, R_ab, R_bb by the quotient rule."""
        D = bottom(a, b)
        first = [top.slope(p) * bottom + top * bottom.slope(p) * -1 for p in (0, 1)]
        second = [(first[p].slope(q) * bottom + first[p] * bottom.slope(q) * -2)(a, b) / D**3
                  for p, q in ((0, 0), (0, 1), (1, 1))]  # fmt: skip
        return [float(v) for v in (top(a, b) / D, *(f(a, b) / D**2 for f in first), *second)]

    moments = NCC(B, A, domain=(1, 5, 1, 5)).cell(1, -1)
    for a, b in POINTS:
        R, Ra, Rb, Raa, Rab, Rbb = square(a, b)
        L = -np.sign(float(c(a, b))) * np.sqrt(R)
        La, Lb = Ra / (2 * L), Rb / (2 * L)
        want = [L, La, Lb] + [(R2 - 2 * pq) / (2 * L) for R2, pq in ((Raa, La * La), (Rab, La * Lb), (Rbb, Lb * Lb))]
        size = max(np.abs(want)) / abs(L)
        for way in ("at", "expand"):
            agree(getattr(moments, way)(a, b), want, scale=size, within=1e-13, name="ncc by algebra")


def test_weights_add_up_and_their_slopes_cancel():
    w = weights(*np.random.default_rng(2).random((2, 50)))
    assert np.abs(w.w.sum(axis=-1) - 1).max() <= 1e-15
    for slopes in (w.a, w.b, w.ab):
        assert np.abs(slopes.sum(axis=-1)).max() <= 1e-15
    assert weights(1, 0).w.tolist() == [0, 1, 0, 0]  # the upper right corner lies one pixel along x
    assert weights(0, 1).w.tolist() == [0, 0, 1, 0]


def test_forms_of_any_symmetric_matrix(agree):
    upper = np.random.default_rng(3).normal(size=10)
    matrix = symmetric(upper)
    assert (matrix == matrix.T).all()
    assert matrix[np.triu_indices(4)].tolist() == upper.tolist()
    exact = Polynomial()
    for i, j in product(range(4), repeat=2):
        exact += WEIGHTS[i] * WEIGHTS[j] * Fraction(matrix[i, j])
    line = sum((w * Fraction(v) for w, v in zip(WEIGHTS, upper[:4], strict=True)), Polynomial())
    for a, b in POINTS:
        for part, name in enumerate(PARTS):
            want, straight = exact, line
            for axis in name:
                want, straight = want.slope(axis), straight.slope(axis)
            got = quadratic_form(matrix, weights(a, b))[part], Biquadratic(matrix).at(a, b)[part]
            agree(got, [float(want(a, b))] * 2, scale=50, within=1e-15, name="quadratic form")
            agree(
                linear_form(upper[:4], weights(a, b))[part],
                float(straight(a, b)),
                scale=9,
                within=1e-15,
                name="linear form",
            )


# --- the lowest point -------------------------------------------------------------------------------------------------


def check_lowest(moments, scale, points=101):
    """Check that the lowest point lies in the closed cell, is what it says, and that no point of a grid is lower."""
    t = np.linspace(0, 1, points)
    grid = moments.expand(*np.meshgrid(t, t)).value
    a, b, value = lowest(moments)
    assert 0 <= a <= 1
    assert 0 <= b <= 1
    assert value == moments.at(a, b).value
    assert value <= grid.min() + 1e-12 * scale, f"{value} at ({a}, {b}), but the grid has {grid.min()}"


@both
def test_the_lowest_point_of_cells_of_pairs(loss, scene):
    """Of images that resemble each other, rough ones and smooth ones, and of ones that do not."""
    for trial in range(4):
        rough = scene((14, 15), 100 + trial)
        smooth = rough.cumsum(axis=0).cumsum(axis=1) / 100
        for A in (rough, smooth):
            near = 0.6 * A + 0.4 * np.roll(A, (1, trial % 3 - 1), axis=(0, 1)) + 0.05 * scene((14, 15), 200 + trial)
            for B, cell in product((near, scene((14, 15), 300)), [(0, 0), (0, -1), (-1, 0), (2, 1)]):
                moments = KINDS[loss](B, A, domain=(3, 11, 3, 12)).cell(*cell)
                check_lowest(moments, scales(moments, 0.5, 0.5)[0])


@pytest.mark.parametrize("pixels", [1, 2, 3, 8, 40])
def test_the_lowest_point_of_an_mse_with_several_minima(pixels):
    """Of a handful of pixels: valleys that bend, two of them, saddles between, minima on the border."""
    for seed in range(60):
        D = np.random.default_rng([pixels, seed]).normal(size=(4, pixels))
        check_lowest(MomentsMSE(D @ D.T, float(pixels)), np.abs(D @ D.T).max() / pixels)


@pytest.mark.parametrize("pixels", [6, 20, 60])
def test_the_lowest_point_of_an_ncc_with_several_minima(pixels):
    for seed in range(60):
        rng = np.random.default_rng([100 + pixels, seed])
        corners, target = (levels - levels.mean(axis=-1, keepdims=True) for levels in
                           (rng.normal(size=(4, pixels)), rng.normal(size=pixels)))  # fmt: skip
        check_lowest(MomentsNCC(corners @ target, corners @ corners.T, float(target @ target)), 1.0)


def test_the_slope_at_the_lowest_point_is_only_rounding():
    """There the loss falls by less than its rounding, so that it cannot say whether the last steps lead down."""
    rng = np.random.default_rng(7)
    for a, b in rng.uniform(0.2, 0.8, (40, 2)):
        A = rng.normal(size=(30, 31))
        along = (1 - a) * A + a * np.roll(A, -1, axis=1)
        B = (1 - b) * along + b * np.roll(along, -1, axis=0) + 0.05 * rng.normal(size=A.shape)
        moments = NCC(B, A, domain=(2, 28, 2, 28)).cell(0, 0)
        at = moments.at(*lowest(moments)[:2])
        assert max(abs(at.a), abs(at.b)) <= 1e-13


def test_the_lowest_point_of_any_symmetric_matrix():
    for seed in range(100):
        matrix = symmetric(np.random.default_rng(seed).normal(size=10))
        check_lowest(MomentsMSE(matrix, 1.0), np.abs(matrix).max())


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), np.ones((4, 4)), np.diag([0, 0, 0, 1.0]), 1e-200 * np.eye(4)])
def test_the_lowest_point_where_there_is_little_to_tell(matrix):
    check_lowest(MomentsMSE(matrix.astype(float), 1.0), np.abs(matrix).max())


def test_the_lowest_point_on_a_corner_is_the_corner():
    """So that an image lies on itself at exactly (0, 0)."""
    D = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 0.5], [0.3, -1.0, 0.5], [1.0, -2.0, 2.0]])
    assert lowest(MomentsMSE(D @ D.T, 3.0)) == (0.0, 0.0, 0.0)
