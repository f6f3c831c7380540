"""torch's autograd through affine_grid and grid_sample, float64: value and gradient of both losses.

torch speaks in normalised coordinates. With ``align_corners=False`` they run over [-1, 1] from the outer edge of the
first pixel to that of the last, and a displacement of dx pixels is 2 dx / W; with ``align_corners=True`` they run from
centre to centre and it is 2 dx / (W - 1), which leaves no way to move an image that is one pixel wide.

What grid_sample back-propagates at an integer
----------------------------------------------
It takes the floor of the source coordinate, and the slope of the cell to its right: our ``side="right"``, as long
as the coordinate *is* the integer. It comes there by way of the normalised grid, ``(x_n + 1) W / 2 - 1 / 2`` of
``x_n = (2 x + 1) / W - 1 + 2 dx / W``, and where that rounds to just below the integer the slope is the left one, pixel
by pixel: of all pixels of images up to 23 wide some 10 % do. Widths that are powers of two (plus one, with aligned
corners) have exact grids; there the gradients agree at integers too. For any other width the last test computes the
rounded coordinates and shows that they explain all of it.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from alignment import formulas

torch = pytest.importorskip("torch", reason="torch is the oracle here; install the CPU build of torch to run it")

CASES = 200
corners = pytest.mark.parametrize("align_corners", [False, True], ids=["edges", "centres"])
losses = pytest.mark.parametrize("loss", ["mse", "ncc"])


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def grid_of(dx, dy, shape, align_corners):
    """Return the sampling grid of a displacement in pixels, differentiable in it."""
    height, width = shape
    spans = (width - 1, height - 1) if align_corners else (width, height)
    one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    theta = torch.stack([one, zero, 2 * dx / spans[0], zero, one, 2 * dy / spans[1]]).reshape(1, 2, 3)
    return torch.nn.functional.affine_grid(theta, (1, 1, height, width), align_corners=align_corners)


def by_torch(loss, B, A, dx, dy, align_corners):
    """Return the value and the gradient that autograd finds, and the grid that it read."""
    d = torch.tensor([dx, dy], dtype=torch.float64, requires_grad=True)
    moving, reference = torch.tensor(A)[None, None], torch.tensor(B)
    grid = grid_of(d[0], d[1], B.shape, align_corners)
    star = torch.nn.functional.grid_sample(
        moving, grid, mode="bilinear", padding_mode="zeros", align_corners=align_corners
    )[0, 0]
    if loss == "mse":
        value = ((star - reference) ** 2).mean()
    else:
        At, Bt = star - star.mean(), reference - reference.mean()
        value = -(At * Bt).sum() / (torch.linalg.norm(At) * torch.linalg.norm(Bt))
    value.backward()
    return value.item(), d.grad.numpy().copy(), grid.detach()[0].numpy()


def compare(objective, naive, agree, loss, B, A, dx, dy, align_corners, name):
    expected = naive.loss(loss, B, A, dx, dy)
    assert expected is not None
    value, gradient, grid = by_torch(loss, B, A, dx, dy, align_corners)
    made = objective(loss, B, A)
    ours, slope = made.value_and_gradient(dx, dy)
    value_scale, gradient_scale = expected.scales(made)
    agree(ours, value, scale=value_scale, within=1e-11, name=f"{name}, value")
    agree(slope, gradient, scale=gradient_scale, within=1e-11, name=f"{name}, gradient")
    return grid


@corners
@losses
def test_random_shapes_and_displacements(objective, naive, agree, loss, align_corners):
    """Inside, partly outside and, for the MSE, wholly outside the frame."""
    random = np.random.default_rng(7)
    outside = partly = 0
    for _ in range(CASES):
        height, width = random.integers(2 if align_corners or loss == "ncc" else 1, 10, 2)
        B, A = random.random((2, height, width))
        reach = 1.5 if loss == "mse" else 0.75
        dx, dy = random.uniform(-reach, reach, 2) * (width, height)
        gone = abs(dx) >= width or abs(dy) >= height
        outside, partly = outside + gone, partly + (not gone)
        compare(objective, naive, agree, loss, B, A, dx, dy, align_corners, f"torch, {loss}")
    assert partly > 50
    assert outside > 50 or loss == "ncc"


@losses
def test_images_of_a_single_row_or_column(objective, naive, agree, loss):
    """Between outer edges; from centre to centre there is no way to move a single pixel."""
    random = np.random.default_rng(8)
    for shape in ((1, 6), (6, 1)):
        for dx, dy in [(0.3, 0.6), (-0.7, 0.2), (0.5, -0.25)]:
            B, A = random.random((2, *shape))
            compare(objective, naive, agree, loss, B, A, dx, dy, False, f"torch, {loss}, single row")


def exact_widths(align_corners):
    return (3, 5, 9) if align_corners else (1, 2, 4, 8)


def coordinates(grid, align_corners, *, fused=True):
    """Return the source coordinates in pixels that grid_sample reads at a grid, with its own arithmetic.

    That is (x_n + 1) W / 2 - 1/2, or (x_n + 1) (W - 1) / 2; the product and the difference are rounded at once where
    the processor can, else one after the other.
    """
    axes = []
    for normalised, length in ((grid[..., 0] + 1, grid.shape[1]), (grid[..., 1] + 1, grid.shape[0])):
        factor, less = ((length - 1) / 2, 0.0) if align_corners else (length / 2, 0.5)
        once = [float(Fraction(float(t)) * Fraction(factor) - Fraction(less)) for t in normalised.flat]
        axes.append(np.reshape(once, normalised.shape) if fused else normalised * factor - less)
    return axes


@corners
@losses
def test_exactly_at_integers_it_is_the_right_hand_slope(objective, naive, agree, loss, align_corners):
    random = np.random.default_rng(9)
    compared = 0
    for height in exact_widths(align_corners):
        for width in exact_widths(align_corners):
            B, A = random.random((2, height, width))
            for dx in range(-width - 1, width + 2):
                for dy in {0, 1, -height // 2}:
                    if naive.loss(loss, B, A, dx, dy) is None:
                        continue
                    grid = compare(
                        objective, naive, agree, loss, B, A, dx, dy, align_corners, f"torch, {loss}, integers"
                    )
                    xs, ys = coordinates(grid, align_corners)
                    assert (xs == np.arange(width) + dx).all()
                    assert (ys == np.arange(height)[:, None] + dy).all()
                    compared += 1
    assert compared > 80


@corners
def test_the_left_hand_slope_is_another_one(objective, align_corners):
    """Or the test above would show nothing."""
    B, A = np.random.default_rng(10).random((2, exact_widths(align_corners)[-1], exact_widths(align_corners)[-1]))
    right = by_torch("mse", B, A, 1, -1, align_corners)[1]
    for side in ("left", "central"):
        assert np.abs(objective("mse", B, A, side=side).value_and_gradient(1, -1)[1] - right).min() > 1e-3


@corners
def test_where_the_grid_rounds_torch_takes_the_side_that_it_rounded_to(align_corners):
    """At integers and any width: the formulas at the coordinates that grid_sample reads, pixel by pixel."""
    random = np.random.default_rng(11)
    below = 0
    errors = {True: [], False: []}
    for width in range(2, 24):
        B, A = random.random((2, 3, width))
        grid = A.tolist()
        for dx in (-1, 0, 1, 2):
            _, (gradient, _), read = by_torch("mse", B, A, dx, 0.5, align_corners)
            for fused, found in errors.items():
                xs, ys = coordinates(read, align_corners, fused=fused)
                below += int((np.floor(xs) < np.arange(width) + dx).sum())
                total = 0.0
                for p in np.ndindex(B.shape):
                    m = math.floor(xs[p])  # the formulas would subtract, and so round once more
                    slope = formulas.sample(grid, m + 1, ys[p]) - formulas.sample(grid, m, ys[p])
                    total += (formulas.sample(grid, xs[p], ys[p]) - B[p]) * slope
                found.append(abs(gradient - 2 * total / B.size))
    # a coordinate that differs by one rounding would read another slope, and be off by a tenth
    assert min(max(found) for found in errors.values()) < 1e-13
    assert below > 100
