r"""The last steps: Newton's method on the smoothly interpolated loss, and how well its end is known.

One pass of the Gaussian kernel over two images gives, for every block of the window, the loss, its gradient and the
products of the slopes of both images. Their sums make the step; their scatter from block to block makes the error bars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .descent import newton_step
from .gaussian import REACH, Gaussian
from .losses import Objective, Window, correlation
from .pyramid import Masked

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
# blocks down and across at the most (a kernel pays for every row of every block), pixels along a block at the least
_BLOCKS = 12, 2
_BLOCK = 24


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
    hessian, covariance : ndarray of shape (2, 2)
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
    covariance: NDArray[np.float64]
    window: Window
    arrived: bool
    passes: int
    visits: list[Visit] = field(repr=False)

    @property
    def spread(self) -> float:
        """The root of the summed variances, in pixels."""
        return math.sqrt(float(np.trace(self.covariance)))


def refine(
    kind: type[Objective],
    reference: Masked,
    moving: Masked,
    start: tuple[float, float],
    *,
    inner: Window,
    outer: Window,
    kernel: Gaussian,
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

    Returns
    -------
    Refinement or None
        None where the window leaves no room for the taps of the kernel.
    """
    dx, dy = start
    inside, around = (_within(window, reference.image.shape, dx, dy) for window in (inner, outer))
    if inside is None or around is None:
        return None
    objective = kind(
        reference.image, moving.image, kernel=kernel, reference_mask=reference.mask, moving_mask=moving.mask
    )
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
        survey = objective.describe(sums[chosen])
        covariance = sandwich(survey.shares, survey.hessian)
        visits.append(Visit(float(position[0]), float(position[1]), survey.value, survey.gradient))
        before, move = move, newton_step(survey.gradient, survey.hessian)
        if float(move @ before) < 0 and float(move @ move) > 0.25 * float(before @ before):
            move = move / 2  # thrown back and forth: the products of the slopes understate the curvature
        length = float(np.hypot(*move))
        if not length <= _FAR or float(np.hypot(*(position + move - start))) > _FAR:
            lost = True  # no minimum of this loss is near: the images are not what they seem
            break
        position = position + (move if length > _STILL else 0.0)
        near = max(_NEAR, _NEAR_SHARE * math.sqrt(min(float(np.trace(covariance)), 1.0)))
        if length < near or len(visits) == _STEPS:
            break
    if lost:
        position = np.array(start)
    return Refinement(
        dx=round(float(position[0]), 9) + 0.0,  # beyond, there is only rounding
        dy=round(float(position[1]), 9) + 0.0,
        loss=survey.value,
        ncc=correlation(sums[chosen]),
        hessian=survey.hessian,
        covariance=covariance,
        window=around if chosen.all() else inside,
        arrived=not lost and length < near,
        passes=objective.passes,
        visits=visits,
    )


def sandwich(shares: NDArray[np.float64], hessian: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Return the covariance of a minimiser from the scatter of the gradient between K blocks of the window.

    Parameters
    ----------
    shares : ndarray of shape (K, 2)
        The share of each block in the gradient.
    hessian : ndarray of shape (2, 2)
        The curvature of the loss.

    Returns
    -------
    ndarray of shape (2, 2)
        In square pixels; infinite where the loss has no curvature along one of the axes' directions.

    Notes
    -----
    .. math:: H^{-1} \left(\frac{K}{K - 2} \sum_k (g_k - \bar g)(g_k - \bar g)'\right) H^{-1}

    It needs no model of the noise, nor of how smoothing correlates it, only blocks that are independent of one another;
    displacements that differ from place to place count as noise.

    References
    ----------
    H. White, "Maximum likelihood estimation of misspecified models", Econometrica 50, 1982.

    Examples
    --------
    >>> shares = np.array([[0.1, 0.0], [-0.1, 0.2], [0.1, -0.2], [-0.1, 0.0]])
    >>> sandwich(shares, np.diag([10.0, 20.0]))
    array([[ 0.0008, -0.0004],
           [-0.0004,  0.0004]])
    """
    eigenvalues, vectors = np.linalg.eigh(hessian)
    if not np.isfinite(hessian).all() or len(shares) < 3 or eigenvalues[0] <= 1e-6 * eigenvalues[1]:
        return _undetermined(eigenvalues, vectors)
    spread = shares - shares.mean(axis=0)
    scatter = spread.T @ spread * len(shares) / (len(shares) - 2)
    inverse = np.linalg.inv(hessian)
    return np.asarray(inverse @ scatter @ inverse)


def blocks_of(window: Window) -> list[Window]:
    """Cut a window into blocks wider than any correlation of the noise, enough of them to see a scatter."""
    top, bottom, left, right = window
    rows, columns = (
        max(2, min(most, size // _BLOCK)) for most, size in zip(_BLOCKS, (bottom - top, right - left), strict=True)
    )
    row_cuts = np.linspace(top, bottom, rows + 1).astype(int).tolist()
    column_cuts = np.linspace(left, right, columns + 1).astype(int).tolist()
    return [(y0, y1, x0, x1) for y0, y1 in pairwise(row_cuts) for x0, x1 in pairwise(column_cuts)]


def _undetermined(eigenvalues: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a covariance that is infinite along every axis that the direction without curvature has a part in."""
    if not np.isfinite(eigenvalues).all() or eigenvalues[1] <= 0:
        return np.full((2, 2), np.inf)
    part = np.abs(vectors[:, 0]) > 1e-3
    return np.where(np.outer(part, part), np.inf, 0.0)


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
    gain = cov[inside].sum() / max(var_u[inside].sum(), 1e-300)
    residual = var_v - 2 * gain * cov + gain**2 * var_u
    usual = residual[inside].sum() / max(n[inside].sum(), 1)
    agreeing = residual <= _LIKE_INSIDE * usual * n
    agreeing[inside] = True
    return np.asarray(agreeing & (n > 0))
