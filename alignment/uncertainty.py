r"""How well a displacement is known: its covariance, by a model of the noise or by the scatter between blocks.

If the two images differ by independent noise alone, the noise of the gradient follows from that of the pixels, through
the taps of the kernel; see `propagation.gradient_noise`. Whether they do shows in the blocks of the window: each has
its share in the gradient, and how widely the shares scatter is known then. Where they scatter more widely, something
moved, the light changed, the scan is warped: then the scatter itself is the measure, whatever its causes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bands import Window
from .objective import Objective
from .propagation import Cleaned
from .pyramid import Masked

# blocks down and across at the most, pixels along a block at the least
_BLOCKS = 12, 2
_BLOCK = 24
# rows that the slopes' energy is measured on: more tell no more
_ROWS = 96
# standard deviations of chance beyond which the scatter of the blocks does not look like noise
_CHANCE = 3.1
# groups of blocks that still show a scatter
_FEWEST = 5


class Ellipse(NamedTuple):
    """A region around a displacement that holds the truth with a probability.

    Attributes
    ----------
    center : (float, float)
        (dx, dy) in pixels.
    semi_axes : (float, float)
        In pixels, the longer first.
    angle : float
        Of the longer axis, in degrees from x towards y, in [0, 180).
    level : float
        The probability.
    """

    center: tuple[float, float]
    semi_axes: tuple[float, float]
    angle: float
    level: float

    def contains(self, dx: float, dy: float) -> bool:
        """Say whether a displacement lies inside."""
        (x, y), (major, minor) = self.center, self.semi_axes
        turn = math.radians(self.angle)
        along = math.cos(turn) * (dx - x) + math.sin(turn) * (dy - y)
        across = math.cos(turn) * (dy - y) - math.sin(turn) * (dx - x)
        if minor == 0:  # nothing but the line, or the point
            return across == 0 and abs(along) <= major
        return (along / major) ** 2 + (across / minor) ** 2 <= 1

    def outline(self, points: int = 100) -> NDArray[np.float64]:
        """Return points of the rim, of shape (points, 2), each (dx, dy) in pixels, for a plot."""
        phase = np.linspace(0, 2 * np.pi, points)
        turn = math.radians(self.angle)
        along, across = self.semi_axes[0] * np.cos(phase), self.semi_axes[1] * np.sin(phase)
        x = self.center[0] + math.cos(turn) * along - math.sin(turn) * across
        y = self.center[1] + math.sin(turn) * along + math.cos(turn) * across
        return np.stack([x, y], axis=1)


class Conditioning(NamedTuple):
    """How unequally well the two directions of a displacement are seen: the aperture problem.

    Attributes
    ----------
    ratio : float
        The smallest curvature of the loss over the largest, in [0, 1]; 0 where nothing tells the displacement along
        one direction.
    angle : float
        That direction, in degrees from x towards y, in [0, 180).
    """

    ratio: float
    angle: float


class Spread(NamedTuple):
    """The uncertainty of a displacement.

    Attributes
    ----------
    covariance : ndarray of shape (2, 2)
        In square pixels.
    degrees_of_freedom : float
        Of the estimate of the covariance: infinite for that of the model.
    goodness_of_fit : float
        The scatter of the gradient between blocks, squared, over what independent noise gives: about 1 where the
        images differ by nothing else.
    like_noise : bool
        Whether it is within chance of that; if not, the covariance is that of the scatter.
    """

    covariance: NDArray[np.float64]
    degrees_of_freedom: float
    goodness_of_fit: float
    like_noise: bool


def spread_of(
    objective: Objective,
    pair: tuple[Masked, Masked],
    cleaned: Cleaned,
    rectangles: Sequence[Window],
    at: tuple[float, float],
    pull: NDArray[np.float64] | None = None,
    *,
    white: bool = True,
) -> Spread:
    r"""Return the uncertainty of the minimum of a loss with the Gaussian kernel.

    Parameters
    ----------
    objective : Objective
    pair : (Masked, Masked)
        The reference and the moving image.
    cleaned : Cleaned
        The sums over the rectangles at the minimum.
    rectangles : sequence of (top, bottom, left, right)
        The blocks that were compared.
    at : (float, float)
        (dx, dy) in pixels, the minimum or so near to it that the difference does not matter.
    pull : ndarray of shape (2,), optional
        What the kernel itself may be off by, in pixels; its square is added.
    white : bool
        Whether noise is independent from pixel to pixel, as in grey levels, or what a filter has made of such noise.

    Returns
    -------
    Spread

    Notes
    -----
    With :math:`g_k` the share of block k in the gradient, :math:`C_k` its covariance under noise and H the curvature,

    .. math:: \Sigma = H^{-1} \left(\sum_k C_k - F\right) H^{-1}, \qquad
        \chi^2 = \sum_k g_k' C_k^{-1} g_k \sim \chi^2_{2K - 2}

    where F is what the loss's own fit of gain and offset takes off (`propagation.noise_fitted`), and two degrees of
    freedom are spent on the minimum. If :math:`\chi^2` is within chance, :math:`\Sigma` holds; otherwise the `sandwich`
    of the scatter takes its place, over blocks alone, in pairs or in fours, whichever is largest: displacements that
    differ from place to place do so in neighbouring blocks alike.

    A filter that makes edges or fine structure of an image correlates its noise, and its share in the gradient is more
    or less than that of independent noise by a factor that depends on filter and scene. It is the same factor in
    :math:`\Sigma` and in :math:`\chi^2`, which estimates it: :math:`\phi = \chi^2 / (2K - 2)`, with as many degrees of
    freedom. Where it is above 1, :math:`\Sigma` is multiplied by it.

    References
    ----------
    H. White, "Maximum likelihood estimation of misspecified models", Econometrica 50, 1982; for the factor
    R. W. M. Wedderburn, "Quasi-likelihood functions, generalized linear models, and the Gauss-Newton method",
    Biometrika 61, 1974.
    """
    survey = objective.describe(cleaned.sums)
    H = survey.hessian
    eigenvalues, vectors = np.linalg.eigh(H) if np.isfinite(H).all() else (np.zeros(2), np.eye(2))
    if len(rectangles) < 3 or eigenvalues[0] <= 1e-6 * eigenvalues[1]:
        return Spread(_undetermined(eigenvalues, vectors), math.inf, math.nan, True)
    slopes = _slopes(objective, pair, rectangles, at)
    noise = _positive(objective.gradient_noise(slopes, cleaned, *at))
    freedom = 2 * len(rectangles) - 2
    chi2 = _chi_squared(survey.shares, noise)
    like_noise = _deviate(chi2, freedom) <= _CHANCE
    inverse = np.linalg.inv(H)
    total = _positive((noise.sum(axis=0) - objective.noise_fitted(slopes, cleaned))[np.newaxis])[0]
    covariance, degrees = inverse @ total @ inverse, math.inf
    if like_noise and not white and chi2 > freedom:
        covariance, degrees = covariance * (chi2 / freedom), float(freedom)
    if not like_noise:
        scattered, count = _widest(survey.shares, H)
        if np.trace(scattered) > np.trace(covariance):
            covariance, degrees = scattered, float(count - 2)
    if pull is not None:
        covariance = covariance + np.outer(pull, pull)
    return Spread(np.asarray(covariance), degrees, chi2 / freedom, like_noise)


def confidence_factor(level: float, degrees_of_freedom: float) -> float:
    r"""Return the squared radius, in standard deviations, of the ellipse that holds the truth with a probability.

    Parameters
    ----------
    level : float
        The probability, in (0, 1).
    degrees_of_freedom : float
        Of the estimate of the covariance, infinite where it is known.

    Notes
    -----
    For a known covariance a quantile of the chi-squared distribution, for one estimated from m + 1 degrees of freedom
    (Hotelling) of the F distribution; with two components both have closed forms,

    .. math:: -2 \ln(1 - p), \qquad (m + 1) \left[(1 - p)^{-2/m} - 1\right]

    Examples
    --------
    >>> [round(confidence_factor(0.95, m), 2) for m in (5, 20, 1e9, math.inf)]
    [17.36, 7.41, 5.99, 5.99]
    """
    if math.isinf(degrees_of_freedom):
        return -2 * math.log1p(-level)
    m = max(degrees_of_freedom - 1, 1.0)
    return (m + 1) * math.expm1(-2 / m * math.log1p(-level))


def ellipse(
    center: tuple[float, float], covariance: NDArray[np.float64], level: float, degrees_of_freedom: float
) -> Ellipse:
    """Return the confidence ellipse of a displacement.

    Examples
    --------
    >>> found = ellipse((3.0, -1.0), np.diag([0.04, 0.01]), 0.95, math.inf)
    >>> [round(axis, 3) for axis in found.semi_axes], found.angle, found.contains(3.4, -1.1)
    ([0.49, 0.245], 0.0, True)
    """
    if not np.isfinite(covariance).all():
        return Ellipse(center, (math.inf, math.inf), 0.0, level)
    variances, vectors = np.linalg.eigh(covariance)
    minor, major = np.sqrt(confidence_factor(level, degrees_of_freedom) * np.maximum(variances, 0)).tolist()
    return Ellipse(center, (major, minor), _angle(vectors[:, 1]), level)


def conditioning(curvature: NDArray[np.float64]) -> Conditioning:
    """Return how unequally a loss is curved.

    Examples
    --------
    >>> conditioning(np.diag([1.0, 4.0]))
    Conditioning(ratio=0.25, angle=0.0)
    """
    if not np.isfinite(curvature).all():
        return Conditioning(0.0, 0.0)
    (low, high), vectors = np.linalg.eigh(curvature)
    return Conditioning(float(np.clip(low / high, 0, 1)) if high > 0 else 0.0, _angle(vectors[:, 0]))


def _angle(vector: NDArray[np.float64]) -> float:
    """Return the direction of an axis, in degrees from x towards y, in [0, 180)."""
    return round(math.degrees(math.atan2(float(vector[1]), float(vector[0]))) % 180, 9) % 180


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


def _slopes(
    objective: Objective, pair: tuple[Masked, Masked], rectangles: Sequence[Window], at: tuple[float, float]
) -> NDArray[np.float64]:
    """Return the sums of each block under the kernel applied twice, from every n-th row of a large window."""
    kernel = objective.kernel
    assert not isinstance(kernel, str)
    twice = type(objective).of(*pair, domain=objective.domain, kernel=kernel.twice(), threads=objective.threads)
    rows = max(bottom for _, bottom, _, _ in rectangles) - min(top for top, _, _, _ in rectangles)
    every = max(1, rows // _ROWS)
    if every == 1:
        return twice.survey(*at, rectangles)
    strips = [(y, y + 1, left, right) for top, bottom, left, right in rectangles for y in range(top, bottom, every)]
    counts = [len(range(top, bottom, every)) for top, bottom, _, _ in rectangles]
    sums = np.add.reduceat(twice.survey(*at, strips), np.cumsum([0, *counts[:-1]]), axis=0)
    heights = np.array([bottom - top for top, bottom, _, _ in rectangles])
    return np.asarray(sums * (heights / counts)[:, np.newaxis])


def _positive(noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nearest covariances: products of two images' slopes, where there is no structure, can be negative.

    A block without structure has no share and no noise; a trace of the others' keeps its covariance regular.
    """
    variances, vectors = np.linalg.eigh(noise)
    least = 1e-9 * max(float(variances.max()), 0.0)
    return np.asarray(vectors * np.maximum(variances, least)[:, np.newaxis, :] @ vectors.transpose(0, 2, 1))


def _chi_squared(shares: NDArray[np.float64], noise: NDArray[np.float64]) -> float:
    """Return the sum over the blocks of their gradients, squared, in units of their noise."""
    if not noise.any():
        return 0.0 if not shares.any() else math.inf
    return float((shares * np.linalg.solve(noise, shares[:, :, np.newaxis])[:, :, 0]).sum())


def _deviate(chi2: float, freedom: int) -> float:
    """Return by how many standard deviations a chi-squared variable exceeds its mean, by its cube root."""
    if not math.isfinite(chi2):
        return math.inf
    width = 2 / (9 * freedom)
    return (math.cbrt(chi2 / freedom) - (1 - width)) / math.sqrt(width)


def _widest(shares: NDArray[np.float64], hessian: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return the largest sandwich over blocks, and over groups of neighbours, with the number of groups."""
    grouped = [shares]
    for size in (2, 4):
        if len(shares) // size >= _FEWEST:
            grouped.append(np.add.reduceat(shares, np.arange(0, len(shares), size), axis=0))
    found = [(sandwich(group, hessian), len(group)) for group in grouped]
    return max(found, key=lambda entry: float(np.trace(entry[0])))


def _undetermined(eigenvalues: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a covariance that is infinite along every axis that the direction without curvature has a part in."""
    if not np.isfinite(eigenvalues).all() or eigenvalues[1] <= 0:
        return np.full((2, 2), np.inf)
    part = np.abs(vectors[:, 0]) > 1e-3
    return np.where(np.outer(part, part), np.inf, 0.0)
