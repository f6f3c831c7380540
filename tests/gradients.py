"""What the tests of the gradient check share: functions with known gradients, and a way to spoil them."""

from __future__ import annotations

import functools
import math

import numpy as np

AT = (0.37, -1.21)


def quadratic(x, y):
    """Quadratic along every line, as a bilinear MSE is along each axis of a cell."""
    return 3 * x * x - 2 * x * y + 0.7 * y * y + x - 5, (6 * x - 2 * y + 1, -2 * x + 1.4 * y)


def smooth(x, y):
    wave, growth = math.sin(2 * y), math.exp(0.3 * x)
    return growth * wave + x * y, (0.3 * growth * wave + y, 2 * growth * math.cos(2 * y) + x)


def three(x, y, z):
    return x * math.exp(y) + z**3, (math.exp(y), x * math.exp(y), 3 * z * z)


class Bilinear:
    """The interpolated signal at x + dx, its loss against a reference, and the one-sided slopes at integers."""

    def __init__(self, side="right"):
        generator = np.random.default_rng(7)
        self.moving, self.reference = generator.random(64), generator.random(40)
        self.side = side

    def __call__(self, dx):
        cell = math.floor(dx)
        if self.side == "left" and cell == dx:
            cell -= 1
        fraction = dx - cell
        here, there = self.moving[10 + cell : 50 + cell], self.moving[11 + cell : 51 + cell]
        residual = (1 - fraction) * here + fraction * there - self.reference
        return float(np.mean(residual**2)), [2 * float(np.mean(residual * (there - here)))]


def spoilt(function, spoil):
    """Return the function with its gradient changed on the way out."""

    @functools.wraps(function)
    def wrong(*point):
        value, gradient = function(*point)
        return value, spoil(np.array(gradient, dtype=float))

    return wrong
