"""mpmath: differences at 50 digits, where a central difference with a step of 1e-16 is right to 30 digits.

The loss is written here a second time, straight from its definition and in mpmath's numbers, so that neither the
formulas nor the naive loops have any part in it.
"""

from __future__ import annotations

import numpy as np
import pytest

mpmath = pytest.importorskip("mpmath", reason="mpmath is the oracle here; install mpmath to run it")
mpf = mpmath.mpf

DISPLACEMENTS = [(0.3, 0.6), (-1.7, 0.45), (2.25, -1.5), (0.015625, -0.9), (1e-9, 0.25), (0.75, -1e-9)]
H = "1e-16"


def sample(A, xs, ys):
    height, width = len(A), len(A[0])
    m, n = int(mpmath.floor(xs)), int(mpmath.floor(ys))
    total = mpf(0)
    for i in (n, n + 1):
        for j in (m, m + 1):
            if 0 <= i < height and 0 <= j < width:
                total += A[i][j] * (1 - abs(ys - i)) * (1 - abs(xs - j))
    return total


def loss_of(kind, B, A, dx, dy):
    stars = [sample(A, x + dx, y + dy) for y in range(len(B)) for x in range(len(B[0]))]
    targets = [level for row in B for level in row]
    n = len(targets)
    if kind == "mse":
        return sum((s - t) ** 2 for s, t in zip(stars, targets, strict=True)) / n
    mean_a, mean_b = sum(stars) / n, sum(targets) / n
    product = sum((s - mean_a) * (t - mean_b) for s, t in zip(stars, targets, strict=True))
    squares = sum((s - mean_a) ** 2 for s in stars) * sum((t - mean_b) ** 2 for t in targets)
    return -product / mpmath.sqrt(squares)


def precisely(image):
    return [[mpf(float(level)) for level in row] for row in image]


def difference(kind, B, A, dx, dy, x, y, h):
    ahead = loss_of(kind, B, A, dx + h * x, dy + h * y)
    return (ahead - loss_of(kind, B, A, dx - h * x, dy - h * y)) / (2 * h)


@pytest.fixture(autouse=True)
def _fifty_digits():
    with mpmath.workdps(50):
        yield


@pytest.mark.parametrize("shape", [(4, 5), (5, 3), (1, 4), (4, 1)], ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_gradients_are_the_limit_of_differences(objective, naive, agree, scene, loss, shape):
    B, A = scene(shape, 60), scene(shape, 61)
    exact = precisely(B), precisely(A)
    made = objective(loss, B, A)
    compared = 0
    for dx, dy in DISPLACEMENTS:
        expected = naive.loss(loss, B, A, dx, dy)
        if expected is None:
            continue
        value, gradient = made.value_and_gradient(dx, dy)
        value_scale, gradient_scale = expected.scales(made)
        # the displacements near a kink leave little room for a step, and need little
        at = mpf(dx), mpf(dy)
        numeric = [difference(loss, *exact, *at, x, y, mpf(H)) for x, y in ((1, 0), (0, 1))]
        agree(
            value,
            float(loss_of(loss, *exact, *at)),
            scale=value_scale,
            within=1e-12,
            name=f"mpmath, {loss}, value",
        )
        agree(gradient, [float(d) for d in numeric], scale=gradient_scale, within=1e-12,
              name=f"mpmath, {loss}, gradient")  # fmt: skip
        compared += 1
    assert compared >= 2


@pytest.mark.parametrize("loss", ["mse", "ncc"])
@pytest.mark.parametrize("side", ["right", "left", "central"])
def test_at_integers_the_sides_are_one_sided_limits(objective, naive, agree, scene, loss, side):
    B, A = scene((4, 5), 62), scene((4, 5), 63)
    exact = precisely(B), precisely(A)
    h = mpf("1e-22")
    for dx, dy in [(0, 0), (1, -1), (-2, 1)]:
        here = loss_of(loss, *exact, mpf(dx), mpf(dy))
        slopes = {
            towards: [
                towards * (loss_of(loss, *exact, dx + towards * h * x, dy + towards * h * y) - here) / h
                for x, y in ((1, 0), (0, 1))
            ]
            for towards in (1, -1)
        }
        want = {
            "right": slopes[1],
            "left": slopes[-1],
            "central": [(r + m) / 2 for r, m in zip(*slopes.values(), strict=True)],
        }
        made = objective(loss, B, A, side=side)
        scale = naive.loss(loss, B, A, dx, dy, side=side).scales(made)[1]
        gradient = made.value_and_gradient(dx, dy)[1]
        agree(gradient, [float(d) for d in want[side]], scale=scale, within=1e-12, name=f"mpmath, {loss}, at integers")


def test_the_central_difference_of_the_mse_has_no_error_at_any_step_inside_a_cell(scene):
    """A parabola along each axis: a step of a tenth of a pixel gives what one of 1e-20 gives, to all 50 digits."""
    exact = precisely(scene((4, 5), 64)), precisely(scene((4, 5), 65))
    at = mpf("0.4"), mpf("-0.7")
    for x, y in ((1, 0), (0, 1)):
        coarse, fine = (difference("mse", *exact, *at, x, y, mpf(h)) for h in ("0.1", "1e-20"))
        assert abs(coarse - fine) < mpf("1e-28")
    # the NCC is only smooth: a hundred times less error for a step ten times smaller
    errors = [
        abs(difference("ncc", *exact, *at, 1, 0, mpf(h)) - difference("ncc", *exact, *at, 1, 0, mpf("1e-16")))
        for h in ("1e-2", "1e-3")
    ]
    assert np.log10(float(errors[0] / errors[1])) == pytest.approx(2, abs=0.01)
