"""The lowest point of a box of displacements, against dense grids and the moments that passes over the images give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment import Gaussian, InputError, global_minimum
from alignment.exhaustive import CellBox
from alignment.losses import MSE, NCC
from alignment.search import brute_force

KINDS = {"mse": MSE, "ncc": NCC}
BOX = (3, 4)
both = pytest.mark.parametrize("loss", ["mse", "ncc"])
# a window that stays in the frame, one that does not, all of the frame; with and without masks
settings_of = pytest.mark.parametrize("domain", [(5, 19, 4, 22), (0, 12, 3, 26), "frame"])
masked = pytest.mark.parametrize("masks", ["none", "reference", "moving", "both"])


def pair(loss, domain, masks="none", seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    B, A = rng.random((2, 24, 26)).astype(dtype)
    hidden = {"reference_mask": rng.random(B.shape) < 0.9, "moving_mask": rng.random(B.shape) < 0.97}
    chosen = {name: mask for name, mask in hidden.items() if masks == "both" or name.startswith(masks)}
    return KINDS[loss](B, 3 * A - 1 if loss == "ncc" else A, domain=domain, **chosen)


@both
@settings_of
@masked
def test_every_cell_is_the_one_that_a_pass_finds(loss, domain, masks):
    objective = pair(loss, domain, masks)
    cells = CellBox(objective, BOX, 0.0)
    a = np.linspace(0, 1, 4)
    for ky in range(-BOX[1], BOX[1]):
        for kx in range(-BOX[0], BOX[0]):
            found, want = (made.cell(kx, ky).expand(a[None], a[:, None]) for made in (cells, objective))
            np.testing.assert_allclose(found, want, rtol=1e-10, atol=1e-11)


@both
@pytest.mark.parametrize("height", [50, 51, 52, 53])
def test_tall_boxes_and_low_ones_have_the_same_cells(loss, height):
    """Their correlations are summed in different ways."""
    B, A = np.random.default_rng(3).random((2, height, 20))
    objective = KINDS[loss](B, A, domain=(25, height - 22, 3, 17))
    low, tall = CellBox(objective, (2, 1)), CellBox(objective, (2, 24))
    for name in ("matrix", "vector", "variance_b"):
        np.testing.assert_allclose(getattr(low, name), getattr(tall, name)[23:25], rtol=1e-12, atol=1e-12)


@both
@masked
@pytest.mark.parametrize("seed", range(3))
def test_the_minimum_is_that_of_a_dense_grid(loss, masks, seed):
    """Of independent noise: the minimum lies anywhere, and many cells come close."""
    objective = pair(loss, (6, 18, 5, 21), masks, seed)
    found = global_minimum(objective, max_shift=BOX, min_overlap=0.01)
    grid = brute_force(objective, max_shift=BOX, step=0.02)
    assert found.loss <= grid[2] + 1e-12
    assert (found.dx, found.dy) == pytest.approx(grid[:2], abs=0.0201)
    # where two cells meet a mask may leave them different pixels, and the lower one counts
    near = [objective.value(found.dx + i * 1e-9, found.dy + j * 1e-9) for i in (-1, 1) for j in (-1, 1)]
    assert min(near) == pytest.approx(found.loss, abs=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["mse", "ncc"]), st.floats(0, 3), st.sampled_from([1.0, 1e-6, 1e6]))
def test_no_bound_lies_above_what_it_bounds(seed, loss, smoothness, scale):
    """A cell that is left out must not hold a lower point than the one that is returned."""
    rng = np.random.default_rng(seed)
    B, A = scale * rng.normal(size=(2, 16, 16)).cumsum(axis=1) ** (1 + smoothness > 2)
    cells = CellBox(KINDS[loss](B, A + 7 * scale, domain=(4, 12, 4, 12)), (2, 2))
    rows, columns = np.nonzero(cells.usable)
    points = np.linspace(0, 1, 33)
    (mx, my), places = cells.max_shift, zip(rows, columns, strict=True)
    dense = np.array([cells.cell(i - mx, j - my).expand(points[None], points[:, None])[0].min() for j, i in places])
    for halvings in range(4):
        bound, found = cells._bound(rows, columns, halvings)
        rounding = 1e-12 * np.abs(dense)
        assert (bound <= dense + rounding).all()
        assert (dense <= found + rounding).all()


@both
def test_most_cells_are_left_out(loss):
    y, x = np.mgrid[:60, :64].astype(float)
    images = (np.sin((x - d) / 3) * np.cos((y + d) / 4) + np.sin((x + 2 * y + d) / 7) for d in (0, 4.6))
    objective = KINDS[loss](*images, domain=(12, 48, 12, 52))
    found = global_minimum(objective, max_shift=10)
    assert (found.dx, found.dy) == pytest.approx((4.6, -4.6), abs=0.05)
    assert found.cells <= 4
    assert objective.passes == 0


def test_the_runner_up_of_repeating_content_is_a_period_away():
    rng = np.random.default_rng(0)
    tile = rng.random((12, 15))
    image = np.tile(tile, (5, 4)) + 0.05 * rng.random((60, 60))
    objective = MSE(image, np.roll(image, (2, 1), axis=(0, 1)), domain=(14, 46, 18, 42))
    found = global_minimum(objective, max_shift=(16, 13))
    assert (found.dx, found.dy) == (1.0, 2.0)
    assert ((found.runner_up.dx - 1) % 15, (found.runner_up.dy - 2) % 12) == (0, 0)
    assert found.runner_up.loss > found.loss


def test_single_precision_and_an_offset_keep_their_digits():
    objective = pair("ncc", (6, 18, 5, 21))
    B, A = (image.image for image in objective.images)
    raised = NCC((B + 1000).astype(np.float32), (A + 1000).astype(np.float32), domain=objective.domain)
    want, found = (global_minimum(made, max_shift=BOX) for made in (objective, raised))
    assert (found.dx, found.dy) == pytest.approx((want.dx, want.dy), abs=1e-3)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ((np.ones((20, 20)), np.random.default_rng(0).random((20, 20))), "undefined in the whole box"),
        ((np.random.default_rng(0).random((20, 20)), np.ones((20, 20))), "undefined in the whole box"),
    ],
)
def test_what_has_no_structure_has_no_minimum(images, sentence):
    with pytest.raises(InputError, match=sentence):
        global_minimum(NCC(*images, domain=(5, 15, 5, 15)), max_shift=3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"objective": np.ones((9, 9))}, r"objective is .*; give an MSE or an NCC"),
        ({"objective": MSE(*np.ones((2, 9, 9)), kernel=Gaussian(1.0))}, r"give one with kernel='hat' alone"),
        ({"objective": MSE(*np.ones((2, 9, 9)), noise=0.1)}, r"objective has .* a noise correction"),
        ({"max_shift": 0}, r"max_shift is 0; give a whole number of at least 1"),
        ({"max_shift": 2.5}, r"max_shift is 2.5; give a whole number"),
        ({"max_shift": (3, 24)}, r"max_shift is \(3, 24\), beyond the images of shape \(24, 26\); give less"),
        ({"max_shift": (3, 4, 5)}, r"max_shift is \(3, 4, 5\); give one whole number, or two"),
        ({"min_overlap": 2}, r"min_overlap is 2; give a number from 0 to 1"),
    ],
)
def test_arguments_are_checked(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        global_minimum(**{"objective": pair("mse", "frame"), "max_shift": 3} | arguments)
