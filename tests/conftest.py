"""What the tests share: images, naive loops to compare with, and how an error is measured.

A relative error needs to say relative to what. Everywhere in this suite that is the size of the terms that a number
is summed from, so that a sum which happens to cancel is not asked for digits that it cannot have. With the weights w_i
of the four neighbours A_i, their slopes dw_i, and D_i = A_i - B:

    MSE, direct    value: the value itself           gradient: (2 / N) sum_xy |A* - B| sum_i |dw_i| |D_i|
    MSE, cells     both: (1 / N) sum_xy max_i D_i^2, because a cell's polynomial is made of all four corners
    NCC            value: 1, the largest it can be   gradient: sum_i |dw_i| |At_i| / |At|

where |At_i| and |At| are the Euclidean lengths of the centred grey levels.

With ``-v`` the worst errors that were met are printed at the end of the run, beside what is allowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alignment import losses

# The ways in which an objective can be asked to evaluate: options of MSE and NCC, each test runs once with each.
EVALUATIONS: tuple[dict[str, str], ...] = ({"evaluation": "cells"}, {"evaluation": "direct"})

_WORST: dict[str, tuple[float, float]] = {}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the worst error of every comparison that ran in this process."""
    if _WORST and terminalreporter.config.get_verbosity() > 0:
        terminalreporter.section("worst relative errors")
        for name, (error, within) in sorted(_WORST.items()):
            terminalreporter.write_line(f"{error:8.1e} of {within:.0e} allowed   {name}")


@pytest.fixture(scope="session", params=EVALUATIONS, ids=lambda options: options["evaluation"])
def evaluation(request):
    """Return the options that choose one way of evaluating."""
    return request.param


@pytest.fixture(scope="session")
def objective(evaluation):
    """Return a function that makes an objective: ``objective("mse", reference, moving, **options)``."""
    kinds = {"mse": losses.MSE, "ncc": losses.NCC}

    def make(loss, reference, moving, **options):
        return kinds[loss](reference, moving, **evaluation, **options)

    return make


@pytest.fixture(scope="session")
def agree():
    """Return a function that asserts ``|got - want| <= within * scale``, elementwise, and remembers the worst."""

    def check(got, want, *, scale, within, name):
        got, want, scale = (np.asarray(values, np.float64) for values in (got, want, scale))
        assert got.shape == want.shape, f"{name}: shape {got.shape} instead of {want.shape}"
        assert np.isfinite(got).all(), f"{name}: {got} is not finite"
        difference = np.abs(got - want)
        # where all terms are zero so must the sum be
        assert (difference[np.broadcast_to(scale == 0, difference.shape)] == 0).all(), f"{name}: {got} for 0"
        error = float(np.max(difference / np.where(scale == 0, 1.0, scale), initial=0.0))
        _WORST[name] = max(_WORST.get(name, (0.0, within)), (error, within))
        assert error <= within, f"{name}: {got} instead of {want}, relative error {error:.2e}"

    return check


@pytest.fixture
def rng():
    """Return a generator that draws the same numbers in every test."""
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def scene():
    """Return a function that makes an image of independent grey levels in [0, 1)."""

    def make(shape, seed=0, dtype=np.float64):
        return np.random.default_rng([20240, seed, *shape]).random(shape).astype(dtype)

    return make


@pytest.fixture(scope="session")
def naive():
    """Return the loops that the package is compared with where the formulas have no masks."""
    return SimpleNamespace(loss=_loss, star=_star)


@dataclass
class _Expected:
    """A loss, its gradient, and the sizes of the terms of both."""

    value: float
    gradient: np.ndarray
    value_scale: float
    gradient_scale: np.ndarray
    count: int
    cell_scale: float | None = None

    def scales(self, made):
        """Return what errors of the value and of the gradient are relative to, for an objective's way of evaluating."""
        if made.evaluation == "cells" and self.cell_scale is not None:
            return self.cell_scale, self.cell_scale
        return self.value_scale, self.gradient_scale


def _cell(displacement: float, side: str) -> tuple[int, float]:
    """Return the cell that a displacement lies in, and how far into it."""
    whole = math.floor(displacement) if side == "right" else math.ceil(displacement) - 1
    return whole, displacement - whole


def _level(A, n, m):
    """Return the grey level of a pixel, zero outside the frame."""
    return float(A[n, m]) if 0 <= n < A.shape[0] and 0 <= m < A.shape[1] else 0.0


def _weights(dx, dy, side):
    """Return the weights of the four neighbours and their slopes along dx and dy."""
    a, b = _cell(dx, side)[1], _cell(dy, side)[1]
    return np.array(
        [
            [(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b],
            [-(1 - b), 1 - b, -b, b],
            [-(1 - a), -a, 1 - a, a],
        ]
    )


def _neighbours(x, y, dx, dy, side):
    """Return the four pixels (n, m) around a source point, upper left, upper right, lower left, lower right."""
    m, n = x + _cell(dx, side)[0], y + _cell(dy, side)[0]
    return [(n, m), (n, m + 1), (n + 1, m), (n + 1, m + 1)]


def _star(A, x, y, dx, dy, side="right"):
    """Return the interpolated grey level at one target pixel and both its slopes."""
    corners = [_level(A, n, m) for n, m in _neighbours(x, y, dx, dy, side)]
    return _weights(dx, dy, side) @ corners


def _usable(mask, n, m):
    """Return whether a pixel of the moving image may be used; the zeros outside the frame always may."""
    return mask is None or not (0 <= n < mask.shape[0] and 0 <= m < mask.shape[1]) or bool(mask[n, m])


def _loss(loss, B, A, dx, dy, *, domain=None, reference_mask=None, moving_mask=None, side="right"):
    """Return value, gradient, the scales of both (see the top of this file) and the pixels used, or None if undefined.

    One pixel after the other, straight from the definition; "central" is the mean of the two one-sided gradients and
    takes its value from the right.
    """
    options = {"domain": domain, "reference_mask": reference_mask, "moving_mask": moving_mask}
    if side == "central":
        right = _loss(loss, B, A, dx, dy, side="right", **options)
        left = _loss(loss, B, A, dx, dy, side="left", **options)
        if right is None or left is None:
            return None
        right.gradient = (right.gradient + left.gradient) / 2
        right.gradient_scale = (right.gradient_scale + left.gradient_scale) / 2
        right.cell_scale = right.cell_scale and (right.cell_scale + left.cell_scale) / 2
        return right
    top, bottom, left, right = domain or (0, B.shape[0], 0, B.shape[1])
    corners, targets = [], []
    for y in range(top, bottom):
        for x in range(left, right):
            around = _neighbours(x, y, dx, dy, side)
            if (reference_mask is None or reference_mask[y, x]) and all(_usable(moving_mask, *c) for c in around):
                corners.append([_level(A, n, m) for n, m in around])
                targets.append(float(B[y, x]))
    if not targets:
        return None
    four, target = np.array(corners).T, np.array(targets)
    weights = _weights(dx, dy, side)
    star, slopes = weights[0] @ four, weights[1:] @ four
    if loss == "mse":
        e = star - target
        terms = np.abs(four - target)
        return _Expected(
            value=np.mean(e**2),
            gradient=2 * np.mean(e * slopes, axis=1),
            value_scale=np.mean(e**2),
            gradient_scale=2 * np.mean(np.abs(e) * (np.abs(weights[1:]) @ terms), axis=1),
            cell_scale=np.mean(terms.max(axis=0) ** 2),
            count=len(targets),
        )
    At, Bt = star - star.mean(), target - target.mean()
    norm_a, norm_b = np.linalg.norm(At), np.linalg.norm(Bt)
    if norm_a < 1e-12 or norm_b < 1e-12:
        return None
    rho = At @ Bt / (norm_a * norm_b)
    lengths = np.linalg.norm(four - four.mean(axis=1, keepdims=True), axis=1)
    return _Expected(
        value=-rho,
        gradient=-(slopes @ (Bt / norm_b) - rho * slopes @ (At / norm_a)) / norm_a,
        value_scale=1.0,
        gradient_scale=np.abs(weights[1:]) @ lengths / norm_a,
        count=len(targets),
    )
