r"""The published experiment as it was run: one descent from (0, 0), in normalised coordinates, on the whole frame.

The publication describes plain gradient descent; its program ran Adam, and left the derivatives to an automatic
differentiation through ``affine_grid`` and ``grid_sample`` in single precision. Both are here by hand.

One thing about the program no formula shows. A descent starts at (0, 0), where every source point lies on a pixel and
the slope to its right differs from that to its left. The program's source points are rounded numbers: those that come
out a little below the integer belong to the cell on the left. Whole columns and rows of the image, scattered over it,
so take the other slope in the very first step, and where the slopes of the two sides lead different ways it is the
rounding that decides where the descent goes.

With it the displacements are the program's to 0.01 px after every step, at the rates 0.01 and 0.001. At 0.1 a step is
some twenty pixels long, farther than the loss is smooth, and a difference of 1e-6 px, which is the last digit of single
precision, becomes one of pixels within eight steps or so: there whole paths cannot be compared, only each single step
from where the program stands.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import InputError
from .bilinear import shift, shift_gradients
from .descent import Adam, Descent, GradientDescent, minimise
from .losses import MSE, NCC
from .objective import Objective

Rectangle = tuple[int, int, int, int]

KINDS: dict[str, type[Objective]] = {"mse": MSE, "ncc": NCC}
METHODS = ("text", "program")
RULES = {"text": "plain gradient descent", "program": "Adam"}
RATES = (0.1, 0.01, 0.001)
STEPS = (30, 100)

# rows and columns whose mean, to the third power, is at least this were taken for paper
_PAPER = 0.1
_FEWEST = 24


@dataclass(frozen=True)
class Experiment:
    """One descent in the published setting.

    Attributes
    ----------
    method : {"text", "program"}
        Plain gradient descent, as described, or Adam, as programmed.
    loss : {"mse", "ncc"}
    learning_rate : float
        In normalised coordinates.
    steps : int
    descent : Descent
        Where it went, in pixels.
    seconds : float
        The median time that it took.
    reach : (float, float)
        How far Adam can travel along x and y, steps times learning rate, in pixels; infinite for plain descent.
    """

    method: str
    loss: str
    learning_rate: float
    steps: int
    descent: Descent
    seconds: float
    reach: tuple[float, float]


def published_exposures(plate: ArrayLike) -> dict[str, Rectangle]:
    """Cut a plate as the published program did: between the outermost rows and columns that are not paper, in thirds.

    Parameters
    ----------
    plate : array_like of shape (H, W)
        Blue on top, then green, then red.

    Returns
    -------
    dict
        For "blue", "green" and "red" the rectangle (top, bottom, left, right), all of one size.

    Raises
    ------
    InputError
        If what is left cannot hold three exposures.

    Notes
    -----
    A row is paper if the cube of its mean, in [0, 1], is 0.1 or more; the last row and column that are not paper are
    dropped with it. One row more or less moves the answer by as much, and the published numbers with it.

    Examples
    --------
    >>> from alignment.datasets import demo_plate
    >>> published_exposures(demo_plate().plate)["green"]
    (386, 759, 13, 458)
    """
    grey = _checks.image("plate", plate)[0]
    edges = []
    for axis in (1, 0):
        kept = np.flatnonzero(grey.mean(axis=axis) ** 3 < _PAPER)
        edges += [int(kept[0]), int(kept[-1])] if len(kept) else [0, 0]
    top, bottom, left, right = edges
    height = (bottom - top) // 3
    if height < _FEWEST or right - left < _FEWEST:
        raise InputError(
            f"the plate, {grey.shape[1]} x {grey.shape[0]} pixels, is cut to {right - left} x {bottom - top} as the "
            f"published program cuts; give a positive scan that leaves at least {_FEWEST} x {3 * _FEWEST}"
        )
    return {n: (top + i * height, top + (i + 1) * height, left, right) for i, n in enumerate(("blue", "green", "red"))}


class AsProgrammed:
    r"""A published objective with the slopes that the program took: at integers, those of the rounded source points.

    Parameters
    ----------
    reference, moving : array_like of shape (H, W)
        Grey levels.
    loss : {"mse", "ncc"}

    Raises
    ------
    InputError
        If an argument is not as described.

    Notes
    -----
    In single precision, with :math:`\circ` for what is rounded once,

    .. math:: g_x = \frac{(-1 + \frac{2}{W - 1} x)^\circ (W - 1)^\circ}{W}, \qquad
        x_s = \left((g_x + t_x + 1)^\circ \tfrac{W}{2} - \tfrac12\right)^\circ

    which differs from :math:`x + d_x` by some :math:`10^{-5}` pixels. That matters at integers only: a source point
    just below one belongs to the cell on its left. Elsewhere this is the objective itself, one pass per evaluation.

    Examples
    --------
    >>> from alignment.datasets import shifted_pair
    >>> pair = shifted_pair(1.5, 0.5, shape=(60, 75))
    >>> first = AsProgrammed(*pair, loss="ncc").value_and_gradient(0.0, 0.0)[1]
    >>> left, right = (NCC(*pair, side=side).value_and_gradient(0.0, 0.0)[1] for side in ("left", "right"))
    >>> bool(min(left[0], right[0]) < first[0] < max(left[0], right[0]))
    True
    """

    def __init__(self, reference: ArrayLike, moving: ArrayLike, *, loss: str) -> None:
        self.loss = _checks.one_of("loss", loss, tuple(KINDS))
        self._objective = KINDS[loss](reference, moving, evaluation="direct")
        self._B, self._A = (
            _checks.image(n, i)[0].astype(np.float64) for n, i in (("reference", reference), ("moving", moving))
        )
        self._at_integers: dict[tuple[float, float], NDArray[np.float64]] = {}
        self.shape = self._objective.shape
        self.pixels_per_unit = self._objective.pixels_per_unit

    def value_and_gradient(self, dx: float, dy: float) -> tuple[float, NDArray[np.float64]]:
        """Return the loss at a displacement in pixels and its gradient per pixel, (d/ddx, d/ddy)."""
        value, gradient = self._objective.value_and_gradient(dx, dy)
        at = float(dx), float(dy)
        if at[0].is_integer() or at[1].is_integer():
            # kept, because every experiment starts at one, and the program paid no more for it than for other points
            if at not in self._at_integers:
                self._at_integers[at] = self._rounded_gradient(*at)
            gradient = self._at_integers[at].copy()
        return value, gradient

    def _rounded_gradient(self, dx: float, dy: float) -> NDArray[np.float64]:
        """Return the gradient with, in each row and column, the slope of the side that its source point rounds to."""
        star = shift(self._A, dx, dy)
        right, left = (shift_gradients(self._A, dx, dy, side=side) for side in ("right", "left"))
        height, width = self.shape
        in_left, in_upper = rounds_down(width, dx), rounds_down(height, dy)
        slopes = (
            np.where(in_left[np.newaxis, :], left[0], right[0]),
            np.where(in_upper[:, np.newaxis], left[1], right[1]),
        )
        if self.loss == "mse":
            return np.array([2 * np.mean((star - self._B) * slope) for slope in slopes])
        a, b = star - star.mean(), self._B - self._B.mean()
        norm_a, norm_b = np.sqrt(np.square(a).sum()), np.sqrt(np.square(b).sum())
        rho = (a * b).sum() / (norm_a * norm_b)
        return np.array([((rho * a / norm_a - b / norm_b) * slope).sum() / norm_a for slope in slopes])


def rounds_down(length: int, displacement: float) -> NDArray[np.bool_]:
    """Say which source points along an axis of the program's single-precision grid come out below their true place.

    Parameters
    ----------
    length : int
        Pixels along the axis.
    displacement : float
        In pixels.

    Returns
    -------
    ndarray of bool, of shape (length,)
        None where the displacement is not an integer.

    Examples
    --------
    >>> int(rounds_down(374, 0.0).sum()), int(rounds_down(375, 0.0).sum()), int(rounds_down(256, 0.0).sum())
    (69, 62, 0)
    """
    pixels = np.arange(length)
    if not float(displacement).is_integer() or length < 2:
        return np.zeros(length, bool)
    single = np.float32
    # products and sums of single-precision numbers are exact in double precision: a cast rounds once, as fused ones do
    spacing = float(single(2) / single(length - 1))
    ramp = np.where(pixels < length // 2, -1 + spacing * pixels, 1 - spacing * (length - 1 - pixels)).astype(single)
    grid = (ramp * single(length - 1)) / single(length) + single(2 * displacement / length)
    source = ((grid + single(1)).astype(np.float64) * (length / 2) - 0.5).astype(single)
    return np.asarray(np.floor(source.astype(np.float64)) < pixels + displacement)


def run(objective: Any, *, method: str, loss: str, learning_rate: float, steps: int, repeats: int = 1) -> Experiment:
    """Run one published experiment.

    Parameters
    ----------
    objective : object
        An `AsProgrammed`, or any objective with ``pixels_per_unit``.
    method : {"text", "program"}
        Plain gradient descent or Adam.
    loss : {"mse", "ncc"}
        What the objective is, for the record.
    learning_rate : float
        In normalised coordinates.
    steps : int
    repeats : int
        How often to run it; the median time counts.

    Returns
    -------
    Experiment

    Raises
    ------
    InputError
        If an argument is not as described.

    Examples
    --------
    >>> from alignment.datasets import shifted_pair
    >>> objective = AsProgrammed(*shifted_pair(1.5, 0.5, shape=(60, 75)), loss="ncc")
    >>> made = run(objective, method="program", loss="ncc", learning_rate=0.001, steps=30)
    >>> round(made.reach[0], 3), round(made.reach[1], 3)
    (1.125, 0.9)
    """
    _checks.one_of("method", method, METHODS)
    steps = _checks.whole_number("steps", steps, at_least=1)
    rule = Adam(learning_rate) if method == "program" else GradientDescent(learning_rate)
    times = []
    for _ in range(_checks.whole_number("repeats", repeats, at_least=1)):
        begun = time.perf_counter()
        descent = minimise(objective, rule, steps=steps, units="normalised")
        times.append(time.perf_counter() - begun)
    x, y = objective.pixels_per_unit
    travel = learning_rate * steps if method == "program" else np.inf
    return Experiment(method, loss, learning_rate, steps, descent, float(np.median(times)), (travel * x, travel * y))
