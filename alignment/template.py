r"""One image that many are laid on: everything about it is computed once, and a frame costs one pass.

Sampled by the Gaussian kernel at a fraction f of a pixel, the template is a smooth function of f, and a polynomial of
degree three in :math:`f_x` and :math:`f_y` describes each of its pixels:

.. math:: B_f(x) = \sum_m \varphi_m(f)\, B_m(x), \qquad \varphi = (1, f_x, f_y, f_x^2, \ldots, f_y^3)

The correlation of a frame A with the template, anywhere within half a pixel of an integer displacement k, follows
from ten sums :math:`P_m = \sum_x (g * A)(x + k)\, B_m(x)`: the frame stands still and the template moves. The filter g
is moved on to the template as well, :math:`P_m = \sum_y A(y + k)\, (g * B_m)(y)`, so that the frame is not even
smoothed: ten dot products with images that are made once. All the sums over products of the template with itself are
made once, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _kernels
from ._checks import Image, Mask
from .gaussian import REACH, Gaussian

Window = tuple[int, int, int, int]
Array = NDArray[np.float64]

# as sharp as the pixel grid carries without the blur depending on the fraction
KERNEL = Gaussian(0.8)
_DEGREE = 3
# the powers (p, q) of fx and fy, and those of the products of two of them
_POWERS = [(p, q) for p in range(_DEGREE + 1) for q in range(_DEGREE + 1 - p)]
_P, _Q = (np.array(powers) for powers in zip(*_POWERS, strict=True))
# pixels: how far from an integer the polynomials hold, with what is lost to noise in where the integer was taken
_HOLDS = 0.6
_STEPS = 20
_STILL = 3e-4
# how often the integer may be taken anew
_MOVES = 6
# windows for which all that does not depend on a frame is kept
_SIGHTS = 6
# strips of the window whose shares in the gradient scatter, and their height at the least
_STRIPS = 12
_STRIP = 12


class Look(NamedTuple):
    """Where a frame lies on a template, and the sums that tell how well.

    Attributes
    ----------
    dx, dy : float
        In pixels.
    ncc : float
        The correlation of the frame, as it is, with the smoothly interpolated template.
    """

    dx: float
    dy: float
    ncc: float
    sight: Sight
    fraction: tuple[float, float]
    products: Array  # of the frame with the fields, about the mean: (10,)
    squares: float  # of the frame, about its mean
    strips: Array | None  # the sums of each strip: (strips, 11)


class Quality(NamedTuple):
    """What many looks tell, each array with one row for each of N looks.

    Attributes
    ----------
    curvature : ndarray of shape (N, 2, 2)
        Of the sum of squares: what the gradient's scatter has to be divided by, twice, for a covariance.
    scatter : ndarray of shape (N, 2, 2)
        Of the shares of the strips in the gradient, per pixel and per unit of the noise's variance; NaN for looks
        that were not taken strip by strip.
    noise : ndarray of shape (N,)
        The variance of the residual, times the number of pixels.
    blur : ndarray of shape (N,)
        The variance of the Gaussian that the frame is blurred with more than the template, in square pixels; negative
        if it is sharper. To first order: heavy blurs are understated.
    """

    curvature: Array
    scatter: Array
    noise: Array
    blur: Array


@dataclass
class Sight:
    """A template seen through one window."""

    window: Window
    rows: int  # of a strip
    fields: Image  # the ten fields of the template and a field of ones: (11, rows, columns)
    whole: Image  # the same, filtered in place of the frame, with a border: (rows, 11, columns)
    strip_filters: list[Image]  # and strip by strip; made when they are asked for
    room: NDArray[np.float32]  # for what lies behind the window in a frame
    sums: Array  # (strips, 10), of the fields
    grams: Array  # (strips, 10, 10), of their products
    total: Array  # (10,), the sums of all strips
    pixels: float
    centred: Array  # (10, 10), products about the means
    variance: Array = field(repr=False)  # the coefficients of the template's variance, [q, p]

    @property
    def size(self) -> int:
        """How many pixels the window has, usable or not."""
        top, bottom, left, right = self.window
        return (bottom - top) * (right - left)

    @property
    def strips(self) -> int:
        """How many strips there are."""
        return len(self.sums)


class Template:
    """An image to find frames on.

    Parameters
    ----------
    image : ndarray of shape (H, W)
        float32.
    mask : uint8 ndarray of shape (H, W), optional
        1 where a pixel may be used.
    border : float
        The share of each side of the frame to leave out.
    kernel : Gaussian

    Examples
    --------
    >>> y, x = np.mgrid[0:120, 0:140].astype(np.float32)
    >>> def scene(x, y):
    ...     return np.sin(x / 5) * np.cos(y / 7) + np.sin((x + 2 * y) / 11)
    >>> look = Template(scene(x, y)).look(7 + 3 * scene(x - 3.25, y + 1.5), (3, -1))
    >>> round(look.dx, 3), round(look.dy, 3)
    (3.25, -1.5)
    """

    def __init__(
        self, image: Image, mask: Mask | None = None, *, border: float = 0.1, kernel: Gaussian = KERNEL
    ) -> None:
        self.image = image
        self.mask = mask
        self._border = border
        self._kernel = kernel
        levels = image if mask is None else image[mask != 0]
        self._centred = image - image.dtype.type(levels.mean(dtype=np.float64))
        self._windows: dict[tuple[int, int], Window] = {}
        self._sights: dict[Window, Sight] = {}
        self._grey = math.nan  # of the frame before

    def fresh(self) -> Template:
        """Return a template of the same image that remembers no frame, and is light enough to be sent elsewhere."""
        return Template(self.image, self.mask, border=self._border, kernel=self._kernel)

    def look(self, frame: NDArray[Any], near: tuple[float, float], *, strips: bool = False) -> Look | None:
        """Find a frame near a displacement.

        Parameters
        ----------
        frame : ndarray of shape (H, W)
            Grey levels of any dtype, finite; their unit does not matter.
        near : (float, float)
            (dx, dy) to begin at, in pixels.
        strips : bool
            Whether to keep the sums of each strip of the window, which tell how well the gradient is known.

        Returns
        -------
        Look or None
            None where nothing is found within a few pixels, where the frames overlap too little, or where the frame
            holds pixels that are not finite.
        """
        kx, ky = round(near[0]), round(near[1])
        for _ in range(_MOVES):
            sight = self._through(kx, ky)
            if sight is None:
                return None
            levels, offset = self._levels(sight, frame, kx, ky)
            sums = _kernels.project(levels, offset, sight.whole, REACH)
            grey = float(sums[-2]) / sight.pixels
            squares = float(sums[-1]) - grey**2 * sight.size
            if not 0 < squares < math.inf:
                return None
            self._grey += grey
            products = sums[:-2] - grey * sight.total
            fx, fy, rise = _kernels.climb(_placed(products), sight.variance, _HOLDS, _STILL, _STEPS)
            if rise > 0:
                ncc = min(float(rise) / math.sqrt(squares), 1.0)
                parts = _by_strips(sight, levels, float(offset) + grey, self._kernel) if strips else None
                return Look(kx + float(fx), ky + float(fy), ncc, sight, (fx, fy), products, squares, parts)
            if math.isnan(fx):
                return None
            kx, ky = kx + round(fx), ky + round(fy)
        return None

    def window(self, kx: int, ky: int) -> Window:
        """Return the pixels in the middle of the template that read from the middle of a frame displaced by (kx, ky).

        It moves in leaps, so that what is computed for one serves a drifting stack for long.
        """
        bounds: list[int] = []
        for size, k in zip(self.image.shape, (ky, kx), strict=True):
            margin = max(2 * REACH + 2, round(self._border * size))
            leap = max(margin // 2, 8)
            spare = margin - (REACH + 2)  # a frame may lie this far off before taps leave it
            leaps = 0 if abs(k) <= spare else math.ceil((abs(k) - spare) / leap) * (1 if k > 0 else -1)
            bounds += [margin + max(0, -leaps * leap), size - margin - max(0, leaps * leap)]
        return bounds[0], bounds[1], bounds[2], bounds[3]

    def _levels(self, sight: Sight, frame: NDArray[Any], kx: int, ky: int) -> tuple[NDArray[np.float32], np.float32]:
        """Return the part of a frame that lies behind the window, and about its mean: what is to be taken off it.

        The mean is that of the frame before. Of numbers that float32 does not hold it is taken off here.
        """
        top, bottom, left, right = sight.window
        part = frame[top + ky - REACH : bottom + ky + REACH, left + kx - REACH : right + kx + REACH]
        levels = sight.room
        wide = frame.dtype.itemsize > 2 and frame.dtype.type is not np.float32
        if wide or not math.isfinite(self._grey):
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found in the sums
                if not math.isfinite(self._grey):
                    self._grey = float(part.mean(dtype=np.float64))
                if wide:
                    np.subtract(part, self._grey, out=levels, casting="unsafe")
                    return levels, np.float32(0)
        np.copyto(levels, part, casting="unsafe")
        return levels, np.float32(self._grey)

    def _through(self, kx: int, ky: int) -> Sight | None:
        """Return what is known of the template behind the window for a displacement; None if that leaves too little."""
        if (kx, ky) not in self._windows:
            self._windows[kx, ky] = self.window(kx, ky)
        window = self._windows[kx, ky]
        top, bottom, left, right = window
        if bottom - top < 3 * REACH or right - left < 3 * REACH:
            return None
        if window not in self._sights:
            if len(self._sights) >= _SIGHTS:
                del self._sights[next(iter(self._sights))]
            self._sights[window] = self._prepare(window)
        return self._sights[window]

    def _prepare(self, window: Window) -> Sight:
        """Compute all that does not depend on a frame."""
        top, bottom, left, right = window
        strips = max(3, min(_STRIPS, (bottom - top) // _STRIP))
        rows = (bottom - top) // strips
        width = right - left
        fields = np.empty((len(_POWERS) + 1, strips * rows, width), np.float32)
        down, across = (_polynomial_taps(self._kernel) for _ in "yx")
        for n, (p, q) in enumerate(_POWERS):
            _filter(self._centred, down[q], across[p], (top - REACH, left - REACH), fields[n])
        fields[-1] = 1
        if self.mask is not None:
            usable = _eroded(self.mask)[top : top + strips * rows, left:right]
            fields *= usable
        blocks = fields.reshape(len(fields), strips, rows * width)
        products = np.array([blocks[:, n].astype(np.float64) @ blocks[:, n].T for n in range(strips)])
        total = products.sum(axis=0)
        pixels = max(float(total[-1, -1]), 1.0)
        centred = total[:-1, :-1] - np.outer(total[:-1, -1], total[:-1, -1]) / pixels
        return Sight(
            window=(top, top + strips * rows, left, right),
            rows=rows,
            fields=fields,
            whole=_filtered(fields, self._kernel),
            strip_filters=[],
            room=np.empty((strips * rows + 2 * REACH, width + 2 * REACH), np.float32),
            sums=products[:, :-1, -1],
            grams=products[:, :-1, :-1],
            total=total[:-1, -1],
            pixels=pixels,
            centred=centred,
            variance=_collapsed(centred),
        )


def levelled(image: Image, mask: Mask | None) -> NDArray[np.float32]:
    """Return grey levels about their mean, in units of their spread: float32 holds those of a high pedestal, too.

    What may not be used has the mean.

    Examples
    --------
    >>> levelled(1e12 + np.array([[-2.0, 2.0, 0.0]]), np.array([[1, 1, 0]], np.uint8))
    array([[-1.,  1.,  0.]], dtype=float32)
    """
    used = image if mask is None else image[mask != 0]
    middle, spread = float(used.mean(dtype=np.float64)), float(used.std(dtype=np.float64))
    levels = (image - image.dtype.type(middle)) / image.dtype.type(spread or 1.0)
    if mask is not None:
        levels[mask == 0] = 0
    return np.ascontiguousarray(levels, np.float32)


def _filtered(fields: Image, kernel: Gaussian) -> Image:
    """Return fields filtered once more, in place of the frame: shape (rows, 11, columns), with a border."""
    count, rows, width = fields.shape
    weights = kernel.taps(0.0)[0]
    out = np.empty((rows + 2 * REACH, count, width + 2 * REACH), np.float32)
    for n in range(count):
        one = np.empty((rows + 2 * REACH, width + 2 * REACH), np.float32)
        _filter(np.pad(fields[n], 2 * REACH), weights, weights, (0, 0), one)
        out[:, n] = one
    return out


def _by_strips(sight: Sight, levels: NDArray[np.float32], grey: float, kernel: Gaussian) -> Array:
    """Return the sums of a frame with the fields, strip by strip."""
    rows = sight.rows
    if not sight.strip_filters:
        blocks = (sight.fields[:, n * rows : (n + 1) * rows] for n in range(sight.strips))
        sight.strip_filters += [_filtered(block, kernel) for block in blocks]
    parts = [levels[n * rows : (n + 1) * rows + 2 * REACH] for n in range(sight.strips)]
    return np.array(
        [
            _kernels.project(part, np.float32(grey), filters, REACH)[:-1]
            for filters, part in zip(sight.strip_filters, parts, strict=True)
        ]
    )


def describe(looks: Sequence[Look]) -> Quality:
    """Return how well many frames are known, all at once."""
    out = Quality(*(np.full((len(looks), *shape), np.nan) for shape in ((2, 2), (2, 2), (), ())))
    for sight in {id(look.sight): look.sight for look in looks}.values():
        rows = [n for n, look in enumerate(looks) if look.sight is sight]
        chosen = [looks[n] for n in rows]
        basis = _basis(np.array([look.fraction for look in chosen]))
        phi, laplacian = basis[:, 0], basis[:, 3] + basis[:, 5]
        products, squares = np.array([look.products for look in chosen]), np.array([look.squares for look in chosen])
        along = phi @ sight.centred
        variance, covariance = _dot(phi, along), _dot(products, phi)
        gain = covariance / variance
        # the residual's part along what a blur adds, the Laplacian of the template, less what a gain explains
        q = laplacian - (_dot(laplacian, along) / variance)[:, None] * phi
        out.blur[rows] = 2 * _dot(q, products - gain[:, None] * along) / _dot(q, q @ sight.centred) / gain
        out.noise[rows] = np.maximum(squares - covariance * gain, 1e-6 * squares)
        for i, j, n in ((0, 0, 3), (0, 1, 4), (1, 0, 4), (1, 1, 5)):
            # of the products, which noise does not share, less that of the gain times the template's own variance
            own = _dot(basis[:, n], along) + _dot(basis[:, 1 + i], basis[:, 1 + j] @ sight.centred)
            out.curvature[rows, i, j] = gain * own - _dot(products, basis[:, n])
        for n, look, g in zip(rows, chosen, gain.tolist(), strict=True):
            if look.strips is not None:
                out.scatter[n] = _scatter(look, g, basis[rows.index(n)]) / out.noise[n]
    return out


def _scatter(look: Look, gain: float, basis: Array) -> Array:
    """Return the covariance of the gradient, a sum over strips, from their scatter."""
    assert look.strips is not None
    phi, slopes = basis[0], basis[1:3]
    sight = look.sight
    grey = (float(look.strips[:, -1].sum()) - gain * float(sight.total @ phi)) / sight.pixels
    # of the residual (g * A) - grey - gain B_f, times the slopes of B_f
    shares = (look.strips[:, :-1] - gain * (sight.grams @ phi) - grey * sight.sums) @ slopes.T
    spread = shares - shares.mean(axis=0)
    return np.asarray(spread.T @ spread * len(shares) / (len(shares) - 2))


def _dot(a: Array, b: Array) -> Array:
    """Return the scalar products of the rows of two arrays."""
    return np.asarray(np.einsum("ij,ij->i", a, b))


def _basis(fractions: Array) -> Array:
    """Return the ten powers at some fractions and their derivatives x, y, xx, xy, yy: shape (N, 6, 10)."""
    one = np.ones(len(fractions))
    zero = 0 * one
    (x, dx, cx), (y, dy, cy) = (
        ([one, v, v**2, v**3], [zero, one, 2 * v, 3 * v**2], [zero, zero, 2 * one, 6 * v]) for v in fractions.T
    )
    orders = ((x, y), (dx, y), (x, dy), (cx, y), (dx, dy), (x, cy))
    return np.array([[a[p] * b[q] for p, q in _POWERS] for a, b in orders]).transpose(2, 0, 1)


def _collapsed(matrix: Array) -> Array:
    """Return the coefficients [q, p] of the polynomial phi' M phi."""
    coefficients = np.zeros((2 * _DEGREE + 1, 2 * _DEGREE + 1))
    for row, (p, q) in zip(matrix, _POWERS, strict=True):
        for value, (r, s) in zip(row, _POWERS, strict=True):
            coefficients[q + s, p + r] += value
    return coefficients


def _placed(products: Array) -> Array:
    """Return the coefficients [q, p] of the polynomial phi' P."""
    coefficients = np.zeros((_DEGREE + 1, _DEGREE + 1))
    coefficients[_Q, _P] = products
    return coefficients


def _polynomial_taps(kernel: Gaussian) -> Array:
    """Return the coefficients of the nine weights as polynomials in the fraction: shape (4, 9), fitted at Chebyshev's.

    A template is read at x - f where a frame is read at x, so that the weights are those of -f.
    """
    nodes = _HOLDS * np.cos(np.pi * (np.arange(33) + 0.5) / 33)
    weights = np.array([kernel.taps(-node)[0] for node in nodes])
    return np.asarray(np.linalg.lstsq(np.vander(nodes, _DEGREE + 1, increasing=True), weights)[0])


def _filter(image: Image, down: Array, across: Array, first: tuple[int, int], out: Image) -> None:
    """Run the separable kernel."""
    _kernels.filter_separably(image, down.astype(np.float32), across.astype(np.float32), first, 1, out)


def _eroded(mask: Mask) -> NDArray[np.float32]:
    """Return 1 for the pixels all of whose taps may be used."""
    share = np.empty(mask.shape, np.float32)
    even = np.full(2 * REACH + 1, 1 / (2 * REACH + 1))
    _filter(np.ascontiguousarray(mask, np.float32), even, even, (-REACH, -REACH), share)
    return np.asarray(share > 1 - 1e-3, np.float32)
