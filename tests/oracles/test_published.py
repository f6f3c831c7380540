"""The published program, in torch and in single precision, beside our own Adam in the same setting.

The program holds the displacement in two trainable numbers, in coordinates normalised to [-1, 1]; ``affine_grid`` and
``grid_sample`` (zeros outside, corners of pixels at the ends) shift the moving image, autograd finds the slopes, Adam
steps. Here the same is written down again, a dozen lines, and set beside `alignment.experiment` step by step.

At a learning rate of 0.1 a step is some twenty pixels long, and a difference of 1e-5 px grows tenfold with each: two
runs of the same program on two processors part company as well. There the program's own displacements are taken as they
come, and each single step from one of them to the next is compared.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import alignment as al
from alignment.experiment import KINDS, RATES, AsProgrammed, published_exposures, rounds_down, run

torch = pytest.importorskip("torch", reason="torch is the oracle here; install the CPU build of torch to run it")

PLATES = sorted((Path(__file__).resolve().parents[2].parent / "shared" / "plates").glob("0*.jpg"))
STEPS = 100
WITHIN = 0.01  # px, of the displacement after every step

losses = pytest.mark.parametrize("loss", sorted(KINDS))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def sampled(moving, shifts):
    """Return the moving image at a displacement in normalised coordinates."""
    theta = torch.zeros(1, 2, 3, dtype=moving.dtype)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, 0, 2], theta[:, 1, 2] = shifts[0], shifts[1]
    grid = torch.nn.functional.affine_grid(theta, moving.shape, align_corners=False)
    return torch.nn.functional.grid_sample(moving, grid, mode="bilinear", align_corners=False).squeeze()


def loss_of(loss, reference, star):
    if loss == "mse":
        return torch.nn.functional.mse_loss(reference, star)
    a, b = reference - reference.mean(), star - star.mean()
    return -((a / torch.norm(a)) * (b / torch.norm(b))).sum()


def program(reference, moving, loss, rate, steps, start=(0.0, 0.0), dtype=None):
    """Run the program; return the displacements in pixels, the start included, and the gradient at each."""
    dtype = dtype or torch.float32
    B, A = torch.tensor(reference, dtype=dtype), torch.tensor(moving, dtype=dtype)[None, None]
    half = np.array([B.shape[1] / 2, B.shape[0] / 2])
    shifts = torch.nn.Parameter(torch.tensor(np.array(start) / half, dtype=dtype))
    adam = torch.optim.Adam([shifts], lr=rate)
    path, gradients = [], []
    for _ in range(steps):
        adam.zero_grad()
        path.append(shifts.detach().numpy().astype(float) * half)
        loss_of(loss, B, sampled(A, shifts)).backward()
        gradients.append(shifts.grad.numpy().astype(float) / half)
        adam.step()
    path.append(shifts.detach().numpy().astype(float) * half)
    return np.array(path), np.array(gradients)


def farthest(path, trace):
    """Return the largest distance between two paths after the same number of steps."""
    return float(np.hypot(path[:, 0] - trace["dx"], path[:, 1] - trace["dy"]).max())


@pytest.fixture(scope="module")
def pair():
    """Return a noisy pair of an awkward size, in single precision as the program reads its scans."""
    made = al.datasets.shifted_pair(2.4, -1.3, shape=(93, 118), noise=0.03, seed=4)
    return tuple(image.clip(0, 1).astype(np.float32) for image in made)


@pytest.fixture(scope="module", params=PLATES, ids=lambda path: path.stem)
def plate(request):
    """Return a plate cut as published, in [0, 1]."""
    grey = al.read_image(request.param)
    exposures = published_exposures(grey)
    return {name: grey[t:b, left:right].astype(np.float32) / 255 for name, (t, b, left, right) in exposures.items()}


@pytest.mark.parametrize("length", [2, 3, 7, 64, 93, 118, 333, 374, 375, 512, 1001])
def test_the_rounded_source_points_are_those_of_grid_sample(length):
    """A ramp of squares tells by its slope, 2 x - 1 or 2 x + 1, which cell each pixel was read from."""
    ramp = (torch.arange(length, dtype=torch.float32) + 1) ** 2
    image = ramp.repeat(2, 1)[None, None]
    theta = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    grid = torch.nn.functional.affine_grid(theta, image.shape, align_corners=False).requires_grad_(True)
    torch.nn.functional.grid_sample(image, grid, align_corners=False).sum().backward()
    slope = grid.grad[0, :, :, 0].sum(dim=0).numpy() / length  # of both rows, which share out the image between them
    left = np.diff(ramp.numpy(), prepend=0.0)
    right = np.diff(ramp.numpy(), append=0.0)
    taken = np.abs(slope - left) < np.abs(slope - right)
    np.testing.assert_array_equal(taken, rounds_down(length, 0.0))


@losses
@pytest.mark.parametrize("rate", [0.01, 0.001])
def test_every_step_of_the_program(pair, loss, rate):
    path, _ = program(*pair, loss, rate, STEPS)
    ours = run(AsProgrammed(*pair, loss=loss), method="program", loss=loss, learning_rate=rate, steps=STEPS)
    assert farthest(path, ours.descent.trace) < WITHIN


@losses
def test_the_one_sided_slope_does_not_reproduce_the_program(pair, loss):
    """What the rounding of the source points is for: without it the descents part at the first step."""
    path, _ = program(*pair, loss, 0.001, STEPS)
    ends = [
        run(KINDS[loss](*pair, side=side), method="program", loss=loss, learning_rate=0.001, steps=STEPS)
        for side in ("right", "left", "central")
    ]
    assert min(farthest(path, end.descent.trace) for end in ends) > 2 * WITHIN


@losses
@pytest.mark.parametrize("rate", RATES)
def test_each_single_step_of_the_program(pair, loss, rate):
    each_single_step(pair, loss, rate)


def each_single_step(pair, loss, rate):
    """Feed our Adam our gradients at the program's displacements; each step must lead to the program's next one."""
    path, gradients = program(*pair, loss, rate, STEPS)
    objective = AsProgrammed(*pair, loss=loss)
    scale = np.array(objective.pixels_per_unit)
    rule = al.Adam(rate)
    state = rule.initial_state()
    for here, there, gradient in zip(path[:-1], path[1:], gradients, strict=True):
        ours = objective.value_and_gradient(*here)[1]
        np.testing.assert_allclose(ours, gradient, rtol=2e-3, atol=2e-3 * np.abs(gradients).max())
        step, state = rule.update(state, scale * gradient)
        assert np.hypot(*(here + scale * step - there)) < WITHIN


@pytest.mark.slow
@losses
@pytest.mark.parametrize("channel", ["red", "blue"])
def test_every_step_on_the_published_plates(plate, channel, loss):
    images = plate["green"], plate[channel]
    objective = AsProgrammed(*images, loss=loss)
    for rate in (0.01, 0.001):
        path, _ = program(*images, loss, rate, STEPS)
        ours = run(objective, method="program", loss=loss, learning_rate=rate, steps=STEPS)
        assert farthest(path, ours.descent.trace) < WITHIN
    each_single_step(images, loss, 0.1)


def test_plates_are_there():
    if not PLATES:
        pytest.skip("the published plates do not lie beside this checkout, in ../shared/plates")
    assert len(PLATES) == 6
