r"""The two objectives, L(dx, dy) between a shifted moving image and a reference, with their hand-derived gradients.

Two ways of evaluating live side by side. The *direct* one is the definition: a fused pass over the two images gives the
value and both derivatives at one displacement. The *cells* are the engine: a pass of the same cost gives the moments of
a whole unit cell, which are kept, and every further displacement in that cell costs nothing. No shifted image is built.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks, _kernels
from ._checks import Image, InputError, Mask
from .bilinear import Cell, one_sided, split
from .cells import Moments, MomentsMSE, MomentsNCC, symmetric

Window = tuple[int, int, int, int]
Domain = str | Window

EVALUATIONS = ("cells", "direct")

# a path or a landscape touches far fewer; beyond, the oldest cells are forgotten
_CELLS_KEPT = 4096


class _Overlap(NamedTuple):
    """The part of the domain that reads at least one pixel of the moving image, and where its cells begin."""

    rectangle: Window
    origin: tuple[int, int]


class Objective(ABC):
    """A loss of a displacement: what MSE and NCC share, namely the images, the domain, the masks and the bookkeeping.

    Attributes
    ----------
    shape : (int, int)
        Height and width of both images.
    domain : (top, bottom, left, right)
        The window of the reference that the loss is taken over, bottom and right exclusive.
    pixels_per_unit : (float, float)
        Pixels in one unit of the normalised coordinates [-1, 1] over the frame: (W / 2, H / 2).
    evaluations : int
        How often a value and gradient were asked for.
    passes : int
        How often the two images were read.
    """

    def __init__(
        self,
        reference: ArrayLike,
        moving: ArrayLike,
        *,
        domain: Domain = "frame",
        reference_mask: ArrayLike | None = None,
        moving_mask: ArrayLike | None = None,
        side: str = "right",
        evaluation: str = "cells",
    ) -> None:
        B, finite_B = _checks.image("reference", reference)
        A, finite_A = _checks.image("moving", moving)
        _checks.same_shape(B, A)
        self._B, self._A = _checks.common_dtype(B, A)
        self.shape: tuple[int, int] = (B.shape[0], B.shape[1])
        self.domain: Window = _checks.window("domain", domain, self.shape)
        self.pixels_per_unit = (self.shape[1] / 2, self.shape[0] / 2)
        self.side = side
        self._sides = one_sided(side)
        self._used = _checks.both(finite_B, _checks.mask("reference_mask", reference_mask, self.shape))
        self._usable = _cells_usable(_checks.both(finite_A, _checks.mask("moving_mask", moving_mask, self.shape)))
        if self._used is None and self._usable is not None:
            self._used = np.ones(self.shape, np.uint8)
        if self._usable is None and self._used is not None:
            self._usable = np.ones((self.shape[0] + 1, self.shape[1] + 1), np.uint8)
        self._with_border: Image | None = None
        self.evaluation = _checks.one_of("evaluation", evaluation, EVALUATIONS)
        self._cells: dict[tuple[int, int], Moments] = {}
        self.evaluations = 0
        self.passes = 0

    def value_and_gradient(self, dx: float, dy: float) -> tuple[float, NDArray[np.float64]]:
        """Return the loss at a displacement and its gradient, (d/ddx, d/ddy), per pixel of displacement.

        Parameters
        ----------
        dx, dy : float
            Displacement in pixels.

        Returns
        -------
        value : float
        gradient : ndarray of shape (2,)

        Raises
        ------
        InputError
            If the displacement is not finite or leaves nothing to compare.
        """
        dx, dy = _checks.finite_number("dx", dx), _checks.finite_number("dy", dy)
        self.evaluations += 1
        value, gradient = self._one_sided(split(dx, side=self._sides[0]), split(dy, side=self._sides[0]))
        if len(self._sides) == 2 and (dx.is_integer() or dy.is_integer()):
            gradient = (gradient + self._one_sided(split(dx, side="left"), split(dy, side="left"))[1]) / 2
        return value, gradient

    def value(self, dx: float, dy: float) -> float:
        """Return the loss at a displacement."""
        return self.value_and_gradient(dx, dy)[0]

    def __call__(self, dx: float, dy: float) -> float:
        """Return the loss at a displacement."""
        return self.value(dx, dy)

    def hessian(self, dx: float, dy: float) -> NDArray[np.float64]:
        """Return the exact second derivatives of the loss, ((dxdx, dxdy), (dxdy, dydy)), inside the cell of (dx, dy).

        At an integer displacement, where the slope jumps, the cell is the one that `side` names ("central": the mean).
        """
        dx, dy = _checks.finite_number("dx", dx), _checks.finite_number("dy", dy)
        mean = np.zeros((2, 2))
        for side in self._sides:
            x, y = split(dx, side=side), split(dy, side=side)
            p = self.cell(x.whole, y.whole).at(x.fraction, y.fraction)
            mean += np.array([[p.aa, p.ab], [p.ab, p.bb]]) / len(self._sides)
        return mean

    def landscape(self, dx: ArrayLike, dy: ArrayLike) -> NDArray[np.float64]:
        """Return the loss on a grid of displacements, one pass for each cell that the grid touches.

        Parameters
        ----------
        dx : array_like of shape (N,)
        dy : array_like of shape (M,)
            Displacements in pixels.

        Returns
        -------
        ndarray of shape (M, N)
        """
        columns = [split(_checks.finite_number("dx", value)) for value in np.atleast_1d(np.asarray(dx, np.float64))]
        rows = [split(_checks.finite_number("dy", value)) for value in np.atleast_1d(np.asarray(dy, np.float64))]
        surface = np.empty((len(rows), len(columns)))
        for ky in {row.whole for row in rows}:
            i = [n for n, row in enumerate(rows) if row.whole == ky]
            for kx in {column.whole for column in columns}:
                j = [n for n, column in enumerate(columns) if column.whole == kx]
                a, b = np.meshgrid([columns[n].fraction for n in j], [rows[n].fraction for n in i])
                surface[np.ix_(i, j)] = self.cell(kx, ky).expand(a, b).value
        return surface

    def cell(self, kx: int, ky: int) -> Moments:
        """Return the moments of the cell [kx, kx + 1] x [ky, ky + 1], by one pass unless they are kept already."""
        key = kx, ky
        if key not in self._cells:
            if len(self._cells) >= _CELLS_KEPT:
                del self._cells[next(iter(self._cells))]
            self.passes += 1
            self._cells[key] = self._moments(Cell(kx, 0.0), Cell(ky, 0.0))
        return self._cells[key]

    def clear_cache(self) -> None:
        """Forget the cells' moments, as for a benchmark."""
        self._cells.clear()

    def _one_sided(self, x: Cell, y: Cell) -> tuple[float, NDArray[np.float64]]:
        """Return the value and the gradient as the given cell shows them."""
        if self.evaluation == "direct":
            self.passes += 1
            return self._direct(x, y)
        point = self.cell(x.whole, y.whole).at(x.fraction, y.fraction)
        return point.value, np.array([point.a, point.b])

    def gradient_by_blocks(self, dx: float, dy: float, *, rows: int, columns: int) -> NDArray[np.float64]:
        r"""Return the gradient as a sum of shares, one from each block of a grid laid over the domain.

        Parameters
        ----------
        dx, dy : float
            Displacement in pixels.
        rows, columns : int
            Blocks along y and x; fewer where the domain has fewer pixels.

        Returns
        -------
        ndarray of shape (K, 2)
            The shares; they add up to the gradient. How much they scatter says how well the gradient is known,
            whatever the noise is like, as long as it does not reach from block to block.
        """
        x, y = split(_checks.finite_number("dx", dx)), split(_checks.finite_number("dy", dy))
        overlap = self._overlap(x, y)
        if overlap is None:
            return np.zeros((0, 2))
        self.passes += 1
        top, bottom, left, right = overlap.rectangle
        row_cuts = np.unique(np.linspace(top, bottom, rows + 1).astype(int))
        column_cuts = np.unique(np.linspace(left, right, columns + 1).astype(int))
        blocks = [
            _Overlap((int(y0), int(y1), int(x0), int(x1)), (int(y0) + y.whole, int(x0) + x.whole))
            for y0, y1 in pairwise(row_cuts)
            for x0, x1 in pairwise(column_cuts)
        ]
        return self._shares(blocks, x, y)

    @abstractmethod
    def _shares(self, blocks: list[_Overlap], x: Cell, y: Cell) -> NDArray[np.float64]:
        """Return each block's share in the gradient."""

    @abstractmethod
    def _direct(self, x: Cell, y: Cell) -> tuple[float, NDArray[np.float64]]:
        """Return the value and the gradient at one displacement by the fused pass."""

    @abstractmethod
    def _moments(self, x: Cell, y: Cell) -> Moments:
        """Return the moments of one cell by one pass."""

    def _overlap(self, x: Cell, y: Cell) -> _Overlap | None:
        """Find the target pixels that have a neighbour inside the frame of the moving image; None where none has."""
        top, bottom, left, right = self.domain
        height, width = self.shape
        top, bottom = max(top, -1 - y.whole), min(bottom, height - y.whole)
        left, right = max(left, -1 - x.whole), min(right, width - x.whole)
        if top >= bottom or left >= right:
            return None
        return _Overlap((top, bottom, left, right), (top + y.whole, left + x.whole))

    def _source(self, overlap: _Overlap) -> tuple[Image, tuple[int, int]]:
        """Return the moving image and the overlap's origin in it, with a border of zeros where cells reach outside."""
        height, width = self.shape
        top, bottom, left, right = overlap.rectangle
        row, column = overlap.origin
        inside = row >= 0 and column >= 0 and row + bottom - top < height and column + right - left < width
        if inside and self._usable is None:
            return self._A, (row, column)
        if self._with_border is None:
            self._with_border = np.pad(self._A, 1)
        return self._with_border, (row + 1, column + 1)

    def _outside(self, overlap: _Overlap | None, offset: float) -> tuple[float, float, float]:
        """Count the domain pixels that read only zeros; sum B - offset and its square over them."""
        top, bottom, left, right = self.domain
        y0, y1, x0, x1 = overlap.rectangle if overlap is not None else (bottom, bottom, left, left)
        count = first = second = 0.0
        for strip in (
            np.s_[top:y0, left:right],
            np.s_[y1:bottom, left:right],
            np.s_[y0:y1, left:x0],
            np.s_[y0:y1, x1:right],
        ):
            levels = self._B[strip].astype(np.float64) - offset
            if self._used is not None:
                levels = levels[self._used[strip] != 0]
            count += levels.size
            first += float(levels.sum())
            second += float(np.square(levels).sum())
        return count, first, second

    def _fraction(self, x: Cell, y: Cell) -> tuple[Any, Any]:
        """Return the fractions in the dtype of the images, so that the kernel stays in it."""
        return self._A.dtype.type(x.fraction), self._A.dtype.type(y.fraction)

    def _nothing_left(self, x: Cell, y: Cell) -> InputError:
        """Make the error for a displacement at which the masks leave no pixel."""
        return InputError(
            f"at displacement ({x.whole + x.fraction:g}, {y.whole + y.fraction:g}) px the masks leave no pixel to "
            "compare; move less far or use masks that overlap"
        )


class MSE(Objective):
    r"""Mean squared error between the shifted moving image and the reference.

    Parameters
    ----------
    reference, moving : array_like of shape (H, W)
        Grey levels. The sums run in the wider of the two floating dtypes, row by row, and are added in float64.
    domain : "frame", "interior" or (top, bottom, left, right)
        The pixels of the reference to compare: all of them, the middle 80 % of each axis, or a window.
    reference_mask, moving_mask : array_like of shape (H, W), optional
        True where a pixel may be used. Pixels that are not finite count as masked. A target pixel is used if all
        four corners of its cell may be.
    side : {"right", "left", "central"}
        Which slope to report at an integer displacement, where the loss has a kink.

    Raises
    ------
    InputError
        If the images differ in shape or an argument is not as described.

    Notes
    -----
    With :math:`A^*` the moving image, shifted and zero outside its frame, and N the number of pixels compared,

    .. math:: L = \frac{1}{N} \sum (A^* - B)^2, \qquad
        \frac{\partial L}{\partial d} = \frac{2}{N} \sum (A^* - B) \frac{\partial A^*}{\partial d}

    A domain that stays inside the moving image at every displacement of interest keeps the loss free of what enters
    from outside. Masks of the moving image travel with it, so that N may change from cell to cell.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[0:20, 0:30].astype(float)
    >>> objective = MSE(0.1 * x, 0.1 * (x - 1.5), domain=(5, 15, 5, 25))
    >>> value, gradient = objective.value_and_gradient(1.0, 0.0)
    >>> round(value, 12), gradient.round(12)
    (0.0025, array([-0.01,  0.  ]))
    """

    def _direct(self, x: Cell, y: Cell) -> tuple[float, NDArray[np.float64]]:
        overlap = self._overlap(x, y)
        count, _, squares = self._outside(overlap, 0.0)
        slope_x = slope_y = 0.0
        if overlap is not None:
            sums = self._block_sums(overlap, x, y)
            squares, slope_x, slope_y, count = squares + sums[0], sums[1], sums[2], count + sums[3]
        if count == 0:
            raise self._nothing_left(x, y)
        return float(squares / count), np.array([2 * slope_x / count, 2 * slope_y / count])

    def _shares(self, blocks: list[_Overlap], x: Cell, y: Cell) -> NDArray[np.float64]:
        sums = np.array([self._block_sums(block, x, y) for block in blocks])
        return np.asarray(2 * sums[:, 1:3] / (sums[:, 3].sum() + self._outside(self._overlap(x, y), 0.0)[0]))

    def _block_sums(self, block: _Overlap, x: Cell, y: Cell) -> NDArray[np.float64]:
        """Return the kernel's four sums over a rectangle."""
        source, origin = self._source(block)
        return np.array(
            _kernels.sums_mse(self._B, source, block.rectangle, origin, self._fraction(x, y), self._used, self._usable)
        )

    def _moments(self, x: Cell, y: Cell) -> MomentsMSE:
        overlap = self._overlap(x, y)
        count, _, squares = self._outside(overlap, 0.0)
        G = np.full((4, 4), squares)  # where only zeros are read, every D_i is -B
        if overlap is not None:
            source, origin = self._source(overlap)
            sums = _kernels.cell_moments_mse(self._B, source, overlap.rectangle, origin, self._used, self._usable)
            G += symmetric(sums[:10])
            count += sums[10]
        if count == 0:
            raise self._nothing_left(x, y)
        return MomentsMSE(G, count)


class NCC(Objective):
    r"""Negative normalised correlation coefficient between the shifted moving image and the reference.

    Parameters
    ----------
    reference, moving : array_like of shape (H, W)
        Grey levels; a positive gain and an offset of either change nothing.
    domain : "frame", "interior" or (top, bottom, left, right)
        The pixels of the reference to compare: all of them, the middle 80 % of each axis, or a window.
    reference_mask, moving_mask : array_like of shape (H, W), optional
        True where a pixel may be used. Pixels that are not finite count as masked.
    side : {"right", "left", "central"}
        Which slope to report at an integer displacement, where the loss has a kink.

    Raises
    ------
    InputError
        If the images differ in shape, an argument is not as described, or one of the images is constant where they
        are compared: its correlation with anything is undefined.

    Notes
    -----
    With :math:`\tilde A, \tilde B` the centred grey levels, :math:`\hat A = \tilde A/|\tilde A|` and
    :math:`\hat B = \tilde B/|\tilde B|`,

    .. math:: L = -\rho, \quad \rho = \sum \hat A \hat B, \qquad \frac{\partial \rho}{\partial d} =
        \frac{1}{|\tilde A|} \left[\sum \hat B \frac{\partial A^*}{\partial d}
        - \rho \sum \hat A \frac{\partial A^*}{\partial d}\right]

    The pass sums plain products about fixed offsets, and the centred ones follow from them:
    :math:`\sum \tilde A \tilde B = \sum uv - \sum u \sum v / N` for u = A* - u0, v = B - v0, and so on.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[0:20, 0:30].astype(float)
    >>> scene = np.sin(x / 3) * np.cos(y / 4)
    >>> [round(NCC(scene, 5 + gain * scene).value(0.0, 0.0), 9) for gain in (2, -2)]
    [-1.0, 1.0]
    """

    def __init__(self, reference: ArrayLike, moving: ArrayLike, **options: Any) -> None:
        super().__init__(reference, moving, **options)
        # any constants near the means will do; a sparse sample finds them
        top, bottom, left, right = self.domain
        sample = np.s_[top:bottom:7, left:right:5]
        u0, v0 = (self._A.dtype.type(image[sample].mean(dtype=np.float64)) for image in (self._A, self._B))
        self._offsets = u0, v0

    def _direct(self, x: Cell, y: Cell) -> tuple[float, NDArray[np.float64]]:
        su, sv, suu, suv, svv, sx, sy, sux, suy, svx, svy, n = self._sums(x, y)
        if n == 0:
            raise self._nothing_left(x, y)
        var_a = suu - su * su / n
        var_b = svv - sv * sv / n
        if not var_a > self._rounding(suu, n, self._offsets[0]):
            raise self._constant("moving", x, y)
        if not var_b > self._rounding(svv, n, self._offsets[1]):
            raise self._constant("reference", x, y)
        norms = sqrt(var_a) * sqrt(var_b)
        rho = (suv - su * sv / n) / norms
        slopes = np.array([sx, sy])
        towards_b = (np.array([svx, svy]) - sv * slopes / n) / norms
        towards_a = (np.array([sux, suy]) - su * slopes / n) / var_a
        return -float(min(max(rho, -1.0), 1.0)), -(towards_b - rho * towards_a)

    def _sums(self, x: Cell, y: Cell) -> NDArray[np.float64]:
        """Return the kernel's twelve sums over the whole domain, the pixels that read only zeros included."""
        u0, v0 = self._offsets
        overlap = self._overlap(x, y)
        n, first, second = self._outside(overlap, float(v0))
        u = -float(u0)  # a zero, seen from the offset
        sums = np.array([u * n, first, u * u * n, u * first, second, 0, 0, 0, 0, 0, 0, n])
        return sums if overlap is None else sums + self._block_sums(overlap, x, y)

    def _block_sums(self, block: _Overlap, x: Cell, y: Cell) -> NDArray[np.float64]:
        """Return the kernel's twelve sums over a rectangle."""
        source, origin = self._source(block)
        sums: NDArray[np.float64] = _kernels.sums_ncc(
            self._B, source, block.rectangle, origin, self._fraction(x, y), self._offsets, self._used, self._usable
        )
        return sums

    def _shares(self, blocks: list[_Overlap], x: Cell, y: Cell) -> NDArray[np.float64]:
        su, sv, suu, suv, svv, *_, n = self._sums(x, y)
        var_a, var_b, norms_ab = suu - su * su / n, svv - sv * sv / n, suv - su * sv / n
        norms = sqrt(var_a) * sqrt(var_b)
        rho = norms_ab / norms
        sums = np.array([self._block_sums(block, x, y) for block in blocks])
        slopes = sums[:, 5:7]
        towards_b = (sums[:, 9:11] - sv * slopes / n) / norms
        towards_a = (sums[:, 7:9] - su * slopes / n) / var_a
        return np.asarray(rho * towards_a - towards_b)

    def _moments(self, x: Cell, y: Cell) -> MomentsNCC:
        u0, v0 = self._offsets
        overlap = self._overlap(x, y)
        n, sv, svv = self._outside(overlap, float(v0))
        u = -float(u0)
        P, C, S = np.full((4, 4), u * u * n), np.full(4, u * sv), np.full(4, u * n)
        if overlap is not None:
            source, origin = self._source(overlap)
            sums = _kernels.cell_moments_ncc(
                self._B, source, overlap.rectangle, origin, (u0, v0), self._used, self._usable
            )
            P += symmetric(sums[:10])
            C += sums[10:14]
            S += sums[14:18]
            sv, svv, n = sv + sums[18], svv + sums[19], n + sums[20]
        if n == 0:
            raise self._nothing_left(x, y)
        var_b = svv - sv * sv / n
        V = P - np.outer(S, S) / n
        if not var_b > self._rounding(svv, n, v0):
            raise self._constant("reference", x, y)
        return MomentsNCC(C - S * sv / n, V, var_b, self._rounding(float(P.diagonal().max()), n, u0))

    def _rounding(self, squares: float, n: float, offset: float) -> float:
        """Return the variance that rounding alone can leave in a sum of squares about an offset, or in grey levels."""
        eps = 8 * float(np.finfo(self._A.dtype).eps)
        return eps * squares + eps**2 * n * float(offset) ** 2

    def _constant(self, name: str, x: Cell, y: Cell) -> InputError:
        """Make the error for an image without structure."""
        return InputError(
            f"{name} is constant over the domain {self.domain} at displacement ({x.whole + x.fraction:g}, "
            f"{y.whole + y.fraction:g}) px, where its correlation is undefined; use a domain with structure, or MSE"
        )


def _cells_usable(mask: Mask | None) -> Mask | None:
    """Return the mask of cells whose four corners may be used; zeros outside the frame are part of the setting."""
    if mask is None:
        return None
    wide = np.pad(mask, 1, constant_values=1)
    return np.ascontiguousarray(wide[:-1, :-1] & wide[1:, :-1] & wide[:-1, 1:] & wide[1:, 1:])
