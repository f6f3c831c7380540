r"""Searches: the loss at all integer displacements at once, and the exact minimum around the best of them.

At an integer displacement the sums behind MSE and NCC are a correlation (of the two images) and box sums (of each
image over the other's frame). Fourier transforms give the first for all displacements together, running sums the
second; with masks the box sums become correlations of the masks too. The transforms are NumPy's: those of SciPy are
the same library, at twice the install.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks
from ._checks import Image, InputError, Mask
from .cells import lowest
from .lengths import fast_length
from .objective import Objective

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LagSurface:
    """A loss at all integer displacements of a box.

    Attributes
    ----------
    loss : ndarray of shape (2 * My + 1, 2 * Mx + 1)
        MSE or negative NCC over the pixels that overlap; inf where too few do or where it is undefined.
    overlap : ndarray of the same shape
        How many pixels overlap.
    max_shift : (int, int)
        (Mx, My); element [j, i] belongs to dx = i - Mx, dy = j - My.
    """

    loss: Array
    overlap: Array
    max_shift: tuple[int, int]

    def displacement(self, row: int, column: int) -> tuple[int, int]:
        """Return the (dx, dy) of an element."""
        return column - self.max_shift[0], row - self.max_shift[1]


class Candidate(NamedTuple):
    """A local minimum of a lag surface."""

    dx: int
    dy: int
    loss: float


def all_lags(
    reference: Image,
    moving: Image,
    *,
    loss: str = "ncc",
    max_shift: tuple[int, int],
    reference_mask: Mask | None = None,
    moving_mask: Mask | None = None,
    min_overlap: float = 0.25,
) -> LagSurface:
    r"""Return the loss at every integer displacement within a box, each over the pixels that overlap there.

    Parameters
    ----------
    reference, moving : ndarray of shape (H, W)
        float32 or float64, finite.
    loss : {"ncc", "mse"}
    max_shift : (int, int)
        The box: largest abs(dx), abs(dy) in pixels, below W and H.
    reference_mask, moving_mask : uint8 ndarray of shape (H, W), optional
        1 where a pixel may be used.
    min_overlap : float
        The share of the usable pixels that must overlap, in (0, 1]; below it the loss is inf.

    Returns
    -------
    LagSurface

    Notes
    -----
    With the sums running over the pixels usable in both images at that displacement, n of them,

    .. math:: \rho = \frac{\sum AB - \sum A \sum B / n}{\sqrt{\sum A^2 - (\sum A)^2/n}\sqrt{\sum B^2 - (\sum B)^2/n}},
        \qquad \mathrm{MSE} = \frac{\sum A^2 - 2 \sum AB + \sum B^2}{n}

    References
    ----------
    D. Padfield, "Masked object registration in the Fourier domain", IEEE Trans. Image Processing 21, 2012.
    J. P. Lewis, "Fast normalized cross-correlation", 1995.

    Examples
    --------
    >>> import numpy as np
    >>> scene = np.random.default_rng(0).random((24, 30))
    >>> surface = all_lags(scene[2:18, 3:23], scene[1:17, 1:21], max_shift=(5, 4))
    >>> best = minima(surface)[0]
    >>> best.dx, best.dy, round(best.loss, 6)
    (2, 1, -1.0)
    """
    sums = _Sums(reference, moving, max_shift, reference_mask, moving_mask)
    n = sums.n
    enough = n >= max(min_overlap * n.max(), 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        if loss == "mse":
            surface = np.maximum(sums.aa - 2 * sums.ab + sums.bb, 0) / n
        else:
            variance_a = sums.aa - sums.a**2 / n
            variance_b = sums.bb - sums.b**2 / n
            rounding = 1e-5 if reference.dtype == np.float32 else 1e-10
            enough &= (variance_a > rounding * sums.aa.max()) & (variance_b > rounding * sums.bb.max())
            surface = -(sums.ab - sums.a * sums.b / n) / np.sqrt(variance_a * variance_b)
    return LagSurface(np.where(enough, surface, np.inf), n, max_shift)


class _Sums:
    """The sums over the overlap at all displacements of a box: n, A, B, AA, BB and AB."""

    def __init__(
        self, B: Image, A: Image, max_shift: tuple[int, int], mask_b: Mask | None, mask_a: Mask | None
    ) -> None:
        self.max_shift = max_shift
        height, width = B.shape
        self.size = fast_length(height + max_shift[1]), fast_length(width + max_shift[0])
        # digits are lost to the offset of the grey levels, and MSE only needs the two offsets to be the same
        offset = B.dtype.type(B.mean(dtype=np.float64))
        A, B = A - offset, B - offset
        if mask_a is None and mask_b is None:
            self.n = np.outer(
                np.maximum(height - np.abs(_lags(max_shift[1])), 0.0),
                np.maximum(width - np.abs(_lags(max_shift[0])), 0.0),
            )
            self.a, self.aa = self._boxes(A, 1)
            self.b, self.bb = self._boxes(B, -1)
            self.ab = self._correlate(self._transform(B), self._transform(A))
            return
        used = np.ones_like(B) if mask_b is None else mask_b.astype(B.dtype)
        usable = np.ones_like(A) if mask_a is None else mask_a.astype(A.dtype)
        A, B = A * usable, B * used
        fa, fb, fu, fv = (self._transform(image) for image in (A, B, usable, used))
        self.n = np.rint(self._correlate(fv, fu))
        self.a, self.aa = self._correlate(fv, fa), self._correlate(fv, self._transform(A * A))
        self.b, self.bb = self._correlate(fb, fu), self._correlate(self._transform(B * B), fu)
        self.ab = self._correlate(fb, fa)

    def _transform(self, image: Image) -> NDArray[np.complexfloating]:
        return np.fft.rfft2(image, self.size)

    def _correlate(self, fb: NDArray[np.complexfloating], fa: NDArray[np.complexfloating]) -> Array:
        """Return the sum over x of b(x) a(x + d), for all d in the box."""
        full = np.fft.irfft2(np.conj(fb) * fa, self.size)
        mx, my = self.max_shift
        rows = np.arange(-my, my + 1) % self.size[0]
        columns = np.arange(-mx, mx + 1) % self.size[1]
        return full[np.ix_(rows, columns)].astype(np.float64)

    def _boxes(self, image: Image, sign: int) -> tuple[Array, Array]:
        """Sum an image, and its square, over the part of its frame that overlaps the other's, for all d in the box."""
        height, width = image.shape
        tables = np.zeros((2, height + 1, width + 1))
        tables[0, 1:, 1:] = image
        np.square(tables[0], out=tables[1])
        tables.cumsum(axis=1, out=tables).cumsum(axis=2, out=tables)
        (top, bottom), (left, right) = (
            (np.clip(sign * _lags(m), 0, size), np.clip(size + sign * _lags(m), 0, size))
            for m, size in zip(self.max_shift[::-1], image.shape, strict=True)
        )
        rows = tables[:, bottom] - tables[:, top]
        sums = rows[:, :, right] - rows[:, :, left]
        return sums[0], sums[1]


class Peak(NamedTuple):
    """The highest peak of a phase correlation."""

    dx: int
    dy: int
    score: float
    ambiguity: float


def phase_peak(reference: Image, moving: Image) -> Peak:
    r"""Return the displacement at which the phases of two images agree best.

    Parameters
    ----------
    reference, moving : ndarray of shape (H, W)

    Returns
    -------
    Peak
        dx, dy in whole pixels; the score is the height of the peak in standard deviations of the surface, the
        ambiguity the height of the next distinct peak as a share of it.

    Notes
    -----
    .. math:: \mathcal F^{-1}\left[\frac{\overline{\hat B}\, \hat A}{|\hat B|\,|\hat A|}\,
        e^{-2 \pi^2 \sigma^2 f^2}\right]

    of the images less their means, faded out towards the borders, with :math:`\sigma` 1 px. Every frequency counts
    alike, so that a scene whose large tones differ between two exposures is still found by its fine structure; a
    repeating texture, of a few frequencies, deceives it.

    References
    ----------
    C. D. Kuglin, D. C. Hines, "The phase correlation image alignment method", 1975.

    Examples
    --------
    >>> import numpy as np
    >>> scene = np.random.default_rng(0).random((80, 90))
    >>> peak = phase_peak(scene[10:70, 10:80], 1 - scene[13:73, 5:75])
    >>> peak.score > 30
    False
    >>> peak = phase_peak(scene[10:70, 10:80], scene[13:73, 5:75] ** 2)
    >>> peak.dx, peak.dy, peak.score > 30
    (5, -3, True)
    """
    height, width = reference.shape
    fade = np.outer(np.hanning(height), np.hanning(width))
    fb, fa = (np.fft.rfft2((image - image.mean(dtype=np.float64)) * fade) for image in (reference, moving))
    cross = np.conj(fb) * fa
    frequency = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width)[None, :] ** 2
    cross *= np.exp(-2 * np.pi**2 * frequency) / np.maximum(np.abs(cross), 1e-300)
    surface = np.fft.irfft2(cross, reference.shape)
    j, i = (int(k) for k in np.unravel_index(int(np.argmax(surface)), surface.shape))
    height_of_peak = float(surface[j, i])
    spread = float(np.median(np.abs(surface))) / 0.6745
    surface[np.ix_(np.arange(j - 4, j + 5) % height, np.arange(i - 4, i + 5) % width)] = -np.inf
    return Peak(
        dx=i - width if i > width // 2 else i,
        dy=j - height if j > height // 2 else j,
        score=height_of_peak / max(spread, 1e-300),
        ambiguity=max(float(surface.max()), 0.0) / max(height_of_peak, 1e-300),
    )


def minima(surface: LagSurface, *, most: int = 8) -> list[Candidate]:
    """Return the local minima of a lag surface, the lowest first.

    A minimum is not higher than any of its eight neighbours; of a plateau each element counts.
    """
    height, width = surface.loss.shape
    wide = np.full((height + 2, width + 2), np.inf)
    wide[1:-1, 1:-1] = surface.loss
    of_three = np.minimum(np.minimum(wide[:-2], wide[1:-1]), wide[2:])
    lowest_around = np.minimum(np.minimum(of_three[:, :-2], of_three[:, 1:-1]), of_three[:, 2:])
    rows, columns = np.nonzero((surface.loss <= lowest_around) & np.isfinite(surface.loss))
    losses = surface.loss[rows, columns]
    order = np.argsort(losses, kind="stable")[:most]
    return [Candidate(*surface.displacement(int(rows[i]), int(columns[i])), float(losses[i])) for i in order]


def walk(objective: Objective, start: tuple[float, float], *, most: int = 64) -> tuple[float, float, float, bool]:
    """Descend from cell to cell, to the exact minimum of each, until none around is lower.

    Parameters
    ----------
    objective : Objective
    start : (float, float)
        (dx, dy) in pixels.
    most : int
        How many cells to visit at the most.

    Returns
    -------
    dx, dy, loss : float
        The local minimum: inside a cell, or on the crease between some.
    arrived : bool
        False if it was still walking after `most` cells.
    """
    cell = int(np.floor(start[0])), int(np.floor(start[1]))
    a, b, value = lowest(objective.cell(*cell))
    for _ in range(most):
        x_side = -1 if a <= 0 else 1 if a >= 1 else 0
        y_side = -1 if b <= 0 else 1 if b >= 1 else 0
        around = {(cell[0] + x_side, cell[1]), (cell[0], cell[1] + y_side), (cell[0] + x_side, cell[1] + y_side)}
        found = min(((lowest(objective.cell(*c)), c) for c in around - {cell}), key=lambda f: f[0][2], default=None)
        if found is None or found[0][2] >= value - 1e-12 * abs(value):
            return cell[0] + a, cell[1] + b, value, True
        (a, b, value), cell = found
    return cell[0] + a, cell[1] + b, value, False


def brute_force(objective: Objective, *, max_shift: tuple[int, int], step: float = 1.0) -> tuple[float, float, float]:
    """Return the best of all displacements on a grid, one evaluation each: slow, and what the searches are held to.

    Parameters
    ----------
    objective : Objective
    max_shift : (int, int)
        Largest abs(dx), abs(dy) in pixels.
    step : float
        Spacing of the grid in pixels.

    Returns
    -------
    dx, dy, loss : float

    Examples
    --------
    >>> import numpy as np
    >>> from alignment.losses import MSE
    >>> scene = np.random.default_rng(0).random((24, 30))
    >>> objective = MSE(scene[2:18, 3:23], scene[1:17, 1:21], domain=(4, 12, 5, 15))
    >>> brute_force(objective, max_shift=(3, 3))
    (2.0, 1.0, 0.0)
    """
    step = _checks.positive_number("step", step)
    if objective.shape[0] <= max_shift[1] or objective.shape[1] <= max_shift[0]:
        raise InputError(f"max_shift is {max_shift}, beyond the images of shape {objective.shape}; give less")
    dx, dy = (step * np.arange(-round(m / step), round(m / step) + 1) for m in max_shift)
    surface = objective.landscape(dx, dy)
    j, i = np.unravel_index(int(np.argmin(surface)), surface.shape)
    return float(dx[i]), float(dy[j]), float(surface[j, i])


def wrapped(kind: type[Objective], reference: Image, moving: Image, *, max_shift: tuple[int, int]) -> Objective:
    """Return a loss over the whole frame for which the moving image repeats itself beyond it.

    Parameters
    ----------
    kind : type
        `MSE` or `NCC`.
    reference, moving : ndarray of shape (H, W)
    max_shift : (int, int)
        Largest abs(dx), abs(dy) that will be asked for, in pixels.

    Examples
    --------
    What leaves the frame of a wrapped image on one side comes back on the other:

    >>> import numpy as np
    >>> from alignment.losses import MSE
    >>> scene = np.random.default_rng(0).random((8, 9))
    >>> brute_force(wrapped(MSE, scene, np.roll(scene, (2, -3), axis=(0, 1)), max_shift=(4, 4)), max_shift=(4, 4))
    (-3.0, 2.0, 0.0)
    """
    (mx, my), (height, width) = (m + 1 for m in max_shift), reference.shape
    around = (my, my), (mx, mx)
    return kind(
        np.pad(reference, around), np.pad(moving, around, mode="wrap"), domain=(my, my + height, mx, mx + width)
    )


def _lags(most: int) -> NDArray[np.int64]:
    """Return -most, ..., most."""
    return np.arange(-most, most + 1)
