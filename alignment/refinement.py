r"""The last steps: Newton's method on the smoothly interpolated loss, and how well its end is known.

One pass of the Gaussian kernel over two images gives, for every block of the window, the loss, its gradient and the
products of the slopes of both images. Their sums make the step; their scatter from block to block makes the error bars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bands import Window
from .bandwidth import REMAINS
from .descent import newton_step
from .gaussian import REACH, Gaussian
from .objective import Objective
from .pyramid import Masked
from .sums import correlation, variance
from .uncertainty import Spread, blocks_of, sandwich, spread_of

# how many steps at the most, below which length (in pixels) the next one would not be seen, beyond which they are lost
_STEPS = 12
_NEAR = 2e-3
# a step that is nothing but the rounding of the sums
_STILL = 2e-5
# or, where noise makes the surface rough, below which share of the standard error
_NEAR_SHARE = 0.02
_FAR = 1.0
# the residual that the outer pixels may have, in units of that of the inner ones
_LIKE_INSIDE = 2.0


class Visit(NamedTuple):
    """A displacement on the way, in pixels, with its loss and gradient."""

    dx: float
    dy: float
    loss: float
    gradient: NDArray[np.float64]


@dataclass
class Refinement:
    """Where a refinement ended, in pixels of the images that it was given.

    Attributes
    ----------
    dx, dy, loss : float
    ncc : float
        The correlation of the images there, whatever was minimised.
    hessian : ndarray of shape (2, 2)
    spread : Spread
        How well the minimum is known.
    variance : float
        Of the reference's grey levels as the kernel sees them.
    window : (top, bottom, left, right)
        The pixels of the reference that were compared.
    arrived : bool
        Whether the last step was too short to matter.
    visits : list of Visit
    passes : int
    """

    dx: float
    dy: float
    loss: float
    ncc: float
    hessian: NDArray[np.float64]
    spread: Spread
    variance: float
    window: Window
    arrived: bool
    passes: int
    visits: list[Visit] = field(repr=False)


def refine(
    kind: type[Objective],
    reference: Masked,
    moving: Masked,
    start: tuple[float, float],
    *,
    inner: Window,
    outer: Window,
    kernel: Gaussian,
    pull: tuple[float, float] | NDArray[np.float64] = (0.0, 0.0),
    noisier: float = 0.5,
    white: bool = True,
    threads: int = 1,
) -> Refinement | None:
    """Take Newton steps from near a minimum to the minimum.

    Parameters
    ----------
    kind : type
        `MSE` or `NCC`.
    reference, moving : Masked
        The images as they are: the kernel smooths them.
    start : (float, float)
        (dx, dy) within a pixel of the minimum.
    inner, outer : (top, bottom, left, right)
        The pixels to compare for sure, and those to compare if they agree as well as the inner ones.
    kernel : Gaussian
    pull : (float, float)
        By how much the kernel itself displaces the minimum, in pixels; it is taken off.
    noisier : float
        The variance of the moving image's noise as a share of both images' together.
    white : bool
        Whether the images' noise is independent from pixel to pixel; what a filter makes of it is not.
    threads : int
        How many threads share a pass.

    Returns
    -------
    Refinement or None
        None where the window leaves no room for the taps of the kernel.
    """
    dx, dy = start
    inside, around = (_within(window, reference.image.shape, dx, dy) for window in (inner, outer))
    if inside is None or around is None:
        return None
    objective = kind.of(reference, moving, domain=inside, kernel=kernel, threads=threads)
    blocks = blocks_of(inside)
    rectangles = [*blocks, *_ring(inside, around)]
    visits: list[Visit] = []
    chosen = np.ones(len(rectangles), np.bool_)
    position, move = np.array(start), np.zeros(2)
    lost = False
    while True:
        sums = objective.survey(position[0], position[1], rectangles)
        if not visits:
            chosen = _agreeing(sums, len(blocks))
        here = float(position[0]), float(position[1])
        cleaned = objective.without_noise(sums[chosen], *here, noisier=noisier)
        survey = objective.describe(cleaned.sums)
        visits.append(Visit(*here, objective.describe(sums[chosen]).value, survey.gradient))
        before, move = move, newton_step(survey.gradient, survey.hessian)
        if float(move @ before) < 0 and float(move @ move) > 0.25 * float(before @ before):
            move = move / 2  # thrown back and forth: the products of the slopes understate the curvature
        length = float(np.hypot(*move))
        if not length <= _FAR or float(np.hypot(*(position + move - start))) > _FAR:
            lost = True  # no minimum of this loss is near: the images are not what they seem
            break
        position = position + (move if length > _STILL else 0.0)
        error = math.sqrt(min(float(np.trace(sandwich(survey.shares, survey.hessian))), 1.0))
        near = max(_NEAR, _NEAR_SHARE * error)
        if length < near or len(visits) == _STEPS:
            break
    position = np.array(start) if lost else position - pull
    return Refinement(
        dx=round(float(position[0]), 9) + 0.0,  # beyond, there is only rounding
        dy=round(float(position[1]), 9) + 0.0,
        loss=visits[-1].loss,
        ncc=correlation(sums[chosen]),
        hessian=survey.hessian,
        spread=spread_of(
            objective,
            (reference, moving),
            cleaned,
            [r for r, use in zip(rectangles, chosen, strict=True) if use],
            here,
            REMAINS * np.asarray(pull),
            white=white,
        ),
        variance=variance(sums[chosen]),
        window=around if chosen.all() else inside,
        arrived=not lost and length < near,
        passes=objective.passes,
        visits=visits,
    )


def _within(window: Window, shape: tuple[int, ...], dx: float, dy: float) -> Window | None:
    """Shrink a window until the taps of every pixel, and a pixel's walk more, lie inside both frames."""
    reach = REACH + 2
    top, bottom, left, right = window
    top, left = max(top, reach, math.ceil(reach - dy)), max(left, reach, math.ceil(reach - dx))
    bottom = min(bottom, shape[0] - reach, math.floor(shape[0] - reach - dy))
    right = min(right, shape[1] - reach, math.floor(shape[1] - reach - dx))
    return (top, bottom, left, right) if bottom - top >= 8 and right - left >= 8 else None


def _ring(inner: Window, outer: Window) -> list[Window]:
    """Return the four sides of what the outer window has more than the inner one."""
    top, bottom, left, right = outer
    y0, y1, x0, x1 = inner
    sides = [(top, y0, left, right), (y1, bottom, left, right), (y0, y1, left, x0), (y0, y1, x1, right)]
    return [side for side in sides if side[1] > side[0] and side[3] > side[2]]


def _agreeing(sums: NDArray[np.float64], blocks: int) -> NDArray[np.bool_]:
    r"""Say which rows to use: all of the inner blocks, and the sides whose residual is like that of the blocks.

    Notes
    -----
    The residual is :math:`\tilde B - \alpha \tilde A` with the means and the gain :math:`\alpha` of the inner blocks; a
    frame that does not move with the content leaves a large one.
    """
    su, sv, suu, suv, svv = sums[:, :5].T
    n = sums[:, 11]
    inside = np.s_[:blocks]
    mean_u, mean_v = su[inside].sum() / max(n[inside].sum(), 1), sv[inside].sum() / max(n[inside].sum(), 1)
    var_u = suu - 2 * mean_u * su + mean_u**2 * n
    var_v = svv - 2 * mean_v * sv + mean_v**2 * n
    cov = suv - mean_u * sv - mean_v * su + mean_u * mean_v * n
    spread = var_u[inside].sum()
    gain = cov[inside].sum() / spread if spread > 0 else 0.0
    residual = var_v - 2 * gain * cov + gain**2 * var_u
    usual = residual[inside].sum() / max(n[inside].sum(), 1)
    agreeing = residual <= _LIKE_INSIDE * usual * n
    agreeing[inside] = True
    return np.asarray(agreeing & (n > 0))
