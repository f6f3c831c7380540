r"""The two objectives, L(dx, dy) between a shifted moving image and a reference, with their hand-derived gradients.

Two ways of evaluating live side by side. The *direct* one is the definition: a fused pass over the two images gives the
value and both derivatives at one displacement. The *cells* are the engine: a pass of the same cost gives the moments of
a whole unit cell, which are kept, and every further displacement in that cell costs nothing. No shifted image is built.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks, _kernels, propagation
from ._checks import Image, Mask, UndefinedLossError
from .bands import Window
from .bilinear import Cell, one_sided, split
from .cells import Moments, MomentsMSE, MomentsNCC, symmetric
from .descent import Law
from .gaussian import Fields, Gaussian, nearest
from .margins import NO_MARGIN, Margin, Margins
from .propagation import Cleaned, Noise, noise_of
from .pyramid import Masked
from .samplers import GaussianSampler, HatSampler, Offsets
from .sums import Centred, added, centred, correlation, explained, variance

# what a caller of the losses needs beside them comes with them
__all__ = ["MSE", "NCC", "Cleaned", "Noise", "Objective", "Survey", "Window", "correlation", "noise_of", "variance"]

Domain = str | Window

EVALUATIONS = ("cells", "direct")

# a path or a landscape touches far fewer; beyond, the oldest cells are forgotten
_CELLS_KEPT = 4096


class Survey(NamedTuple):
    """What one pass says of a loss at one displacement."""

    value: float
    gradient: NDArray[np.float64]
    hessian: NDArray[np.float64]
    shares: NDArray[np.float64]


class Objective(ABC):
    """A loss of a displacement: what MSE and NCC share, namely the images, the domain, the masks and the bookkeeping.

    Attributes
    ----------
    shape : (int, int)
        Height and width of both images.
    domain : (top, bottom, left, right)
        The window of the reference that the loss is taken over, bottom and right exclusive.
    images : (Masked, Masked)
        The reference and the moving image, with what of them may be used.
    pixels_per_unit : (float, float)
        Pixels in one unit of the normalised coordinates [-1, 1] over the frame: (W / 2, H / 2).
    evaluations : int
        How often a value and gradient were asked for.
    passes : int
        How often the two images were read.
    threads : int
        How many threads share a pass over large images; the result is the same, bit for bit.
    """

    _noise: Noise | None

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
        kernel: Gaussian | str = "hat",
        noise: float | tuple[float, float] | str | None = None,
        threads: int = 1,
    ) -> None:
        B, finite_B = _checks.image("reference", reference)
        A, finite_A = _checks.image("moving", moving)
        _checks.same_shape(B, A)
        B, A = _checks.common_dtype(B, A)
        shape = (B.shape[0], B.shape[1])
        self._prepare(
            Masked(B, _checks.both(finite_B, _checks.mask("reference_mask", reference_mask, shape))),
            Masked(A, _checks.both(finite_A, _checks.mask("moving_mask", moving_mask, shape))),
            _checks.window("domain", domain, shape),
            kernel if isinstance(kernel, Gaussian) else _checks.one_of("kernel", kernel, ("hat",)),
            _checks.one_of("evaluation", evaluation, EVALUATIONS),
            side,
        )
        self.threads = _checks.whole_number("threads", threads, at_least=1)
        if noise is not None:
            if self.kernel != "hat" or self.evaluation != "cells":
                raise _checks.InputError(
                    "noise is for kernel='hat' and evaluation='cells', whose moments it is taken off; leave it out"
                )
            self._noise = noise_of(*self.images, noise)

    @classmethod
    def of(
        cls,
        reference: Masked,
        moving: Masked,
        *,
        domain: Window,
        kernel: Gaussian | str = "hat",
        noise: Noise | None = None,
        threads: int = 1,
    ) -> Self:
        """Make the loss of two images that have been checked already, without reading them."""
        objective = cls.__new__(cls)
        objective._prepare(reference, moving, domain, kernel, "cells", "right")
        objective._noise = noise
        objective.threads = threads
        return objective

    def _prepare(
        self, reference: Masked, moving: Masked, domain: Window, kernel: Gaussian | str, evaluation: str, side: str
    ) -> None:
        """Keep what evaluations need."""
        self.images = reference, moving
        self.shape: tuple[int, int] = (reference.image.shape[0], reference.image.shape[1])
        self.domain: Window = domain
        self.pixels_per_unit = (self.shape[1] / 2, self.shape[0] / 2)
        self.side = side
        self._sides = one_sided(side)
        self.kernel = kernel
        # no finite set of moments describes a Gaussian on a cell
        self.evaluation = evaluation if kernel == "hat" else "direct"
        self._sampler = _sampler_of(reference, moving, kernel)
        self._offsets = self._chosen_offsets()
        self._margins = Margins(self._sampler, domain, float(self._offsets[1]))
        self._cells: dict[tuple[int, int], Moments] = {}
        self._noise = None
        self.threads = 1
        self.evaluations = 0
        self.passes = 0

    def _chosen_offsets(self) -> Offsets:
        """Return grey levels (u0, v0) for the sums to be about, in the dtype of the images."""
        zero = self.images[1].image.dtype.type(0)
        return zero, zero

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
        value, gradient = self._one_sided(self._locate(dx), self._locate(dy))
        if self.kernel == "hat" and len(self._sides) == 2 and (dx.is_integer() or dy.is_integer()):
            gradient = (gradient + self._one_sided(split(dx, side="left"), split(dy, side="left"))[1]) / 2
        return value, gradient

    def value(self, dx: float, dy: float) -> float:
        """Return the loss at a displacement."""
        return self.value_and_gradient(dx, dy)[0]

    def correlation(self, dx: float, dy: float) -> float:
        """Return the correlation coefficient of the images there, whatever this objective minimises."""
        twin = NCC.of(*self.images, domain=self.domain, kernel=self.kernel)
        return -twin.value(dx, dy)

    def __call__(self, dx: float, dy: float) -> float:
        """Return the loss at a displacement."""
        return self.value(dx, dy)

    def hessian(self, dx: float, dy: float) -> NDArray[np.float64]:
        """Return the exact second derivatives of the loss, ((dxdx, dxdy), (dxdy, dydy)), inside the cell of (dx, dy).

        At an integer displacement, where the slope jumps, the cell is the one that `side` names ("central": the mean).
        """
        dx, dy = _checks.finite_number("dx", dx), _checks.finite_number("dy", dy)
        if isinstance(self._sampler, GaussianSampler):
            return self._smooth_hessian(*self._sampler.seen_at(self.domain, dx, dy))
        mean = np.zeros((2, 2))
        for side in self._sides:
            x, y = split(dx, side=side), split(dy, side=side)
            p = self.cell(x.whole, y.whole).at(x.fraction, y.fraction)
            mean += np.array([[p.aa, p.ab], [p.ab, p.bb]]) / len(self._sides)
        return mean

    def gauss_newton(self, dx: float, dy: float) -> NDArray[np.float64]:
        r"""Return the curvature that the products of the two images' slopes give, with the Gaussian kernel.

        It needs no second derivatives, and noise that the images do not share cancels in it; away from a match it
        differs from the `hessian`. See `hessian_from`.

        Raises
        ------
        InputError
            If the kernel is the hat: its cells give the exact Hessian at no cost.
        """
        if not isinstance(self.kernel, Gaussian):
            raise _checks.InputError("kernel is 'hat', whose hessian is exact and free; give kernel=Gaussian(sigma)")
        x, y = self._locate(_checks.finite_number("dx", dx)), self._locate(_checks.finite_number("dy", dy))
        overlap = self._sampler.overlap(self.domain, x, y)
        return np.zeros((2, 2)) if overlap is None else self.hessian_from(self._sums(np.array([overlap]), x, y))

    @abstractmethod
    def _smooth_hessian(self, A: Fields, B: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the exact Hessian from the moving image's derivatives at every pixel, and the reference there."""

    def landscape(self, dx: ArrayLike, dy: ArrayLike) -> NDArray[np.float64]:
        """Return the loss on a grid of displacements, one pass for each cell that the grid touches.

        With the Gaussian kernel, which no cells describe, it is one pass for each displacement.

        Parameters
        ----------
        dx : array_like of shape (N,)
        dy : array_like of shape (M,)
            Displacements in pixels.

        Returns
        -------
        ndarray of shape (M, N)
        """
        across, down = ([_checks.finite_number(n, v) for v in _listed(n, d)] for n, d in (("dx", dx), ("dy", dy)))
        if isinstance(self.kernel, Gaussian):
            return np.array([[self.value(x, y) for x in across] for y in down]).reshape(len(down), len(across))
        columns, rows = [split(x) for x in across], [split(y) for y in down]
        surface = np.empty((len(rows), len(columns)))
        for ky in {row.whole for row in rows}:
            i = [n for n, row in enumerate(rows) if row.whole == ky]
            for kx in {column.whole for column in columns}:
                j = [n for n, column in enumerate(columns) if column.whole == kx]
                a, b = np.meshgrid([columns[n].fraction for n in j], [rows[n].fraction for n in i])
                surface[np.ix_(i, j)] = self.cell(kx, ky).expand(a, b).value
        return surface

    def cell(self, kx: int, ky: int) -> Moments:
        """Return the moments of the cell [kx, kx + 1] x [ky, ky + 1], by one pass unless they are kept already.

        Raises
        ------
        InputError
            If the kernel is a Gaussian, which no finite set of moments describes on a cell.
        """
        key = kx, ky
        if key not in self._cells:
            if not isinstance(self._sampler, HatSampler):
                raise _checks.InputError(f"kernel is {self.kernel}, which has no cells; give kernel='hat'")
            if len(self._cells) >= _CELLS_KEPT:
                del self._cells[next(iter(self._cells))]
            self.passes += 1
            self._cells[key] = self._moments(self._sampler, Cell(kx, 0.0), Cell(ky, 0.0))
        return self._cells[key]

    @property
    def corrected(self) -> bool:
        """Whether the images' noise is taken off the moments of the cells."""
        return self._noise is not None

    def descend_in_cell(
        self,
        place: NDArray[np.float64],
        law: Law,
        memory: NDArray[np.float64],
        scale: NDArray[np.float64],
        rows: NDArray[np.float64],
        tolerance: float,
    ) -> tuple[int, bool]:
        """Take steps by a law of descent as long as they stay in the cell of a displacement, without a pass.

        Parameters
        ----------
        place : ndarray of shape (5,)
            The displacement, the gradient there and the length of the last step, in and out.
        law : Law
            What the rule is in numbers.
        memory : ndarray of shape (5,)
            What the rule remembers, in and out; zeros at first.
        scale : ndarray of shape (2,)
            Pixels in one unit of the rule's coordinates.
        rows : ndarray of shape (N, 5)
            Takes the displacement, loss and gradient after each step.
        tolerance : float
            Pixels; a shorter step is the last.

        Returns
        -------
        steps : int
            How many rows were written.
        left : bool
            Whether `place` is one more step ahead, in another cell or where the loss is undefined, and the gradient in
            it is void.
        """
        x, y = self._locate(float(place[0])), self._locate(float(place[1]))
        # on a border "central" is the mean of two cells: no cell's own
        cell = float(x.whole), float(y.whole), self._sides == ("right",), self._sides == ("left",)
        moments = self.cell(x.whole, y.whole).polynomials
        steps, left = _kernels.descend_in_cell(
            tuple(moments),
            cell,
            law.adam,
            np.array(law.constants),
            memory,
            place,
            tuple(scale.tolist()),
            tolerance,
            rows,
        )
        self.evaluations += steps
        return steps, left

    def reference_variance(self) -> float:
        """Return the variance of the reference's grey levels over the domain."""
        top, bottom, left, right = self.domain
        reference, used = self.images[0]
        levels = reference[top:bottom, left:right]
        return float((levels if used is None else levels[used[top:bottom, left:right] != 0]).var(dtype=np.float64))

    def clear_cache(self) -> None:
        """Forget the cells' moments, as for a benchmark."""
        self._cells.clear()
        self._margins.clear()

    def _one_sided(self, x: Cell, y: Cell) -> tuple[float, NDArray[np.float64]]:
        """Return the value and the gradient as the given cell shows them."""
        if self.evaluation == "direct":
            return self._directly(x, y)
        point = self.cell(x.whole, y.whole).at(x.fraction, y.fraction)
        return point.value, np.array([point.a, point.b])

    def gradient_by_blocks(self, dx: float, dy: float, *, blocks: Sequence[Window]) -> NDArray[np.float64]:
        r"""Return the gradient as a sum of shares, one from each block of the domain.

        Parameters
        ----------
        dx, dy : float
            Displacement in pixels.
        blocks : sequence of (top, bottom, left, right)
            Rectangles that together make up the domain. What of them reads nothing but zeros has no share.

        Returns
        -------
        ndarray of shape (K, 2)
            The shares; they add up to the gradient. How much they scatter says how well the gradient is known,
            whatever the noise is like, as long as it does not reach from block to block.
        """
        dx, dy = _checks.finite_number("dx", dx), _checks.finite_number("dy", dy)
        x, y = self._locate(dx), self._locate(dy)
        overlap = self._sampler.overlap(self.domain, x, y)
        if overlap is None:
            return np.zeros((len(blocks), 2))
        self.passes += 1
        top, bottom, left, right = overlap
        inside = np.array(blocks, np.int64).clip((top, top, left, left), (bottom, bottom, right, right))
        return self._shares(self._sums(inside, x, y), self._margins.beside(overlap))

    def _locate(self, displacement: float) -> Cell:
        """Split one coordinate of a displacement as the kernel of this objective needs it."""
        return split(displacement, side=self._sides[0]) if self.kernel == "hat" else Cell(*nearest(displacement))

    def _sums(self, blocks: NDArray[np.int64], x: Cell, y: Cell) -> NDArray[np.float64]:
        """Return the sums of the fused pass, one row for each rectangle."""
        if isinstance(self._sampler, GaussianSampler):
            return self._sampler.sums(blocks, x, y, self._offsets, threads=self.threads)
        return self._hat_sums(self._sampler, blocks, x, y)

    @abstractmethod
    def _hat_sums(self, hat: HatSampler, blocks: NDArray[np.int64], x: Cell, y: Cell) -> NDArray[np.float64]:
        """Return the sums of the loss's own pass with the hat."""

    @abstractmethod
    def _shares(self, sums: NDArray[np.float64], margin: Margin) -> NDArray[np.float64]:
        """Return each block's share in the gradient, from its row of sums."""

    def _directly(self, x: Cell, y: Cell) -> tuple[float, NDArray[np.float64]]:
        """Return the value and the gradient at one displacement by the fused pass."""
        self.passes += 1
        overlap = self._sampler.overlap(self.domain, x, y)
        sums = self._sums(np.array([overlap]), x, y) if overlap is not None else np.zeros((1, 16))
        return self._from_sums(sums, self._margins.beside(overlap), x, y)

    @abstractmethod
    def _from_sums(
        self, sums: NDArray[np.float64], margin: Margin, x: Cell, y: Cell
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the value and the gradient from rows of sums that together cover the overlap."""

    def survey(self, dx: float, dy: float, rectangles: Sequence[Window]) -> NDArray[np.float64]:
        """Return, with the Gaussian kernel and by one pass, the sums over some rectangles.

        Rectangles lie inside the images by the reach of the taps, at this displacement.

        Returns
        -------
        ndarray of shape (K, 16)
            Any selection of its rows describes the loss over the selected pixels, see `describe`.
        """
        self.passes += 1
        self.evaluations += 1
        return self._sums(np.array(rectangles, np.int64), self._locate(dx), self._locate(dy))

    def describe(self, sums: NDArray[np.float64]) -> Survey:
        """Return the loss, its gradient and curvature over the pixels behind some rows of sums."""
        value, gradient = self._from_sums(sums, NO_MARGIN, Cell(0, 0.0), Cell(0, 0.0))
        return Survey(value, gradient, self.hessian_from(sums), self._shares(sums, NO_MARGIN))

    def without_noise(self, sums: NDArray[np.float64], dx: float, dy: float, *, noisier: float = 0.5) -> Cleaned:
        """Take off rows of Gaussian sums what the images' own noise has put in; see `propagation.without_noise`."""
        assert isinstance(self.kernel, Gaussian)
        return propagation.without_noise(sums, self.kernel, (dx, dy), self._gain, noisier=noisier)

    @abstractmethod
    def _gain(self, c: Centred) -> float:
        """Return the factor between the grey levels of the two images that this loss allows for."""

    def gradient_noise(
        self, slopes: NDArray[np.float64], cleaned: Cleaned, dx: float, dy: float
    ) -> NDArray[np.float64]:
        """Return the covariance of each block's share in the gradient; see `propagation.gradient_noise`."""
        assert isinstance(self.kernel, Gaussian)
        scale = self._curvature_scale(cleaned.sums)
        return propagation.gradient_noise(slopes, cleaned, self.kernel, (dx, dy), scale)

    def hessian_from(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Return the curvature of the loss from the products of the two images' slopes in rows of Gaussian sums.

        Notes
        -----
        By parts, :math:`\sum A_{ij} B = -\sum A_i B_j`, the borders aside. Noise that the images do not share
        cancels in these products, where :math:`\sum A_i A_j` would count it as structure.
        """
        J = sums[:, 12:16].sum(axis=0).reshape(2, 2)
        return np.asarray((J + J.T) / 2 * self._curvature_scale(sums))

    def noise_fitted(self, slopes: NDArray[np.float64], cleaned: Cleaned) -> NDArray[np.float64]:
        """Return what the loss's own fit of gain and offset takes off the `gradient_noise` of all blocks together."""
        return np.zeros((2, 2))

    @abstractmethod
    def _curvature_scale(self, sums: NDArray[np.float64]) -> float:
        """Return what turns the products of slopes into second derivatives of the loss."""

    @abstractmethod
    def _moments(self, hat: HatSampler, x: Cell, y: Cell) -> Moments:
        """Return the moments of one cell by one pass."""

    def _nothing_left(self, x: Cell, y: Cell) -> UndefinedLossError:
        """Make the error for a displacement at which the masks leave no pixel."""
        return UndefinedLossError(
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
    kernel : "hat" or Gaussian
        What both images are sampled with: the bilinear hat of the documented formulas, or a Gaussian, which has no
        kinks. Under a Gaussian, usable pixels share out the weight of masked ones, pixels beside masked ones are not
        compared unless that would leave fewer than half, and zeros lie outside the frame.
    noise : float, (float, float) or "estimate", optional
        The standard deviation of independent noise in the images (the reference's first), in grey levels, whose share
        is taken off the moments of the cells; see `noise_of`. Without it the minimum is pulled towards half pixels.
    threads : int
        How many threads share a pass over images of four million pixels or more; it changes no bit of the result.

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

    def _from_sums(
        self, sums: NDArray[np.float64], margin: Margin, x: Cell, y: Cell
    ) -> tuple[float, NDArray[np.float64]]:
        ee, ex, ey, n = self._errors(sums).sum(axis=0).tolist()
        n += margin.n
        if n == 0:
            raise self._nothing_left(x, y)
        return (margin.second + ee) / n, np.array([2 * ex / n, 2 * ey / n])

    def _hat_sums(self, hat: HatSampler, blocks: NDArray[np.int64], x: Cell, y: Cell) -> NDArray[np.float64]:
        return hat.sums(_kernels.sums_mse, blocks, x, y, threads=self.threads)

    def _curvature_scale(self, sums: NDArray[np.float64]) -> float:
        return float(2 / sums[:, 11].sum())

    def _gain(self, c: Centred) -> float:
        return 1.0

    def _smooth_hessian(self, A: Fields, B: NDArray[np.float64]) -> NDArray[np.float64]:
        e = A.value - B
        xx, xy, yy = (
            float(first @ second + e @ both)
            for first, second, both in ((A.x, A.x, A.xx), (A.x, A.y, A.xy), (A.y, A.y, A.yy))
        )
        return 2 / max(e.size, 1) * np.array([[xx, xy], [xy, yy]])

    def _errors(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums of e^2, e A_x, e A_y and 1, where needed from the products of the Gaussian pass."""
        if self.kernel == "hat":
            return sums[:, :4]
        _, _, suu, suv, svv, _, _, sux, suy, svx, svy, n = sums[:, :12].T
        return np.stack([suu - 2 * suv + svv, sux - svx, suy - svy, n], axis=1)

    def _shares(self, sums: NDArray[np.float64], margin: Margin) -> NDArray[np.float64]:
        errors = self._errors(sums)
        return np.asarray(2 * errors[:, 1:3] / (errors[:, 3].sum() + margin.n))

    def _moments(self, hat: HatSampler, x: Cell, y: Cell) -> MomentsMSE:
        overlap = hat.overlap(self.domain, x, y)
        count, _, squares = self._margins.beside(overlap)
        G = np.full((4, 4), squares)  # where only zeros are read, every D_i is -B
        if overlap is not None:
            sums = hat.moments(_kernels.cell_moments_mse, overlap, x, y, threads=self.threads)
            G += symmetric(sums[:10])
            if self._noise is not None:
                G = self._noise.taken_off(G, sums[10], x, y)
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
    kernel : "hat" or Gaussian
        What both images are sampled with: the bilinear hat of the documented formulas, or a Gaussian, which has no
        kinks. Under a Gaussian, usable pixels share out the weight of masked ones, pixels beside masked ones are not
        compared unless that would leave fewer than half, and zeros lie outside the frame.
    noise : float, (float, float) or "estimate", optional
        The standard deviation of independent noise in the images (the reference's first), in grey levels, whose share
        is taken off the moments of the cells; see `noise_of`. Without it the minimum is pulled towards half pixels.
    threads : int
        How many threads share a pass over images of four million pixels or more; it changes no bit of the result.

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

    def _chosen_offsets(self) -> Offsets:
        """Return grey levels near the means; any constants there will do, and a sparse sample finds them."""
        top, bottom, left, right = self.domain
        sample = np.s_[top:bottom:7, left:right:5]
        v0, u0 = (
            image.dtype.type(_mean(image[sample], None if used is None else used[sample]))
            for image, used in self.images
        )
        return u0, v0

    def _from_sums(
        self, sums: NDArray[np.float64], margin: Margin, x: Cell, y: Cell
    ) -> tuple[float, NDArray[np.float64]]:
        total = added(sums)
        c = Centred.of(total + self._only_zeros(margin))
        if c.n == 0:
            raise self._nothing_left(x, y)
        self._refuse_constant(c, x, y)
        return -float(min(max(c.rho, -1.0), 1.0)), self._slopes(total[np.newaxis], c)[0]

    def _hat_sums(self, hat: HatSampler, blocks: NDArray[np.int64], x: Cell, y: Cell) -> NDArray[np.float64]:
        return hat.sums(_kernels.sums_ncc, blocks, x, y, self._offsets, threads=self.threads)

    def _shares(self, sums: NDArray[np.float64], margin: Margin) -> NDArray[np.float64]:
        c = Centred.of(added(sums) + self._only_zeros(margin))
        self._refuse_constant(c, Cell(0, 0.0), Cell(0, 0.0))
        return self._slopes(sums, c)

    def _refuse_constant(self, c: Centred, x: Cell, y: Cell) -> None:
        """Refuse a variance that is nothing but rounding."""
        for name, power, squares, offset in (
            ("moving", c.var_a, c.suu, self._offsets[0]),
            ("reference", c.var_b, c.svv, self._offsets[1]),
        ):
            if not power > self._rounding(squares, c.n, offset):
                raise self._constant(name, x, y)

    def hessian_from(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Return the curvature of the loss from the products of the two images' slopes in rows of Gaussian sums.

        Notes
        -----
        Gain and offset are free, so that what a slope shares with a constant or with the image itself is theirs to
        explain and tells nothing of the displacement: a ramp, or a sky that fades, has no place. With the gain
        :math:`\beta = \sum \tilde u \tilde v / \sum \tilde u^2`,

        .. math:: H_{ij} = s \left[\sum A_i B_j - \beta \left(\frac{\sum A_i \sum A_j}{N}
            + \frac{\sum \tilde u A_i \sum \tilde u A_j}{\sum \tilde u^2}\right)\right]

        which is -rho differentiated twice where the gradient vanishes, :math:`\sum \tilde v A_i = \beta \sum \tilde u
        A_i`, the products of the slopes standing for those of the noise-free scene. By parts the sums that are taken
        off are integrals along the border of what is compared: they matter where structure is coarse against the
        window, or where masks make the border long.
        """
        c = centred(sums)
        if not (c.n and min(c.var_a, c.var_b) > 0):
            return super().hessian_from(sums)
        means, along = explained(sums, c)
        taken = self._gain(c) * (c.n * np.outer(means, means) + c.var_a * np.outer(along, along))
        return np.asarray(super().hessian_from(sums) - taken * self._curvature_scale(sums))

    def noise_fitted(self, slopes: NDArray[np.float64], cleaned: Cleaned) -> NDArray[np.float64]:
        """Return what the fit of gain and offset takes off; see `propagation.noise_fitted`."""
        return propagation.noise_fitted(slopes, cleaned, self._curvature_scale(cleaned.sums))

    def _gain(self, c: Centred) -> float:
        return c.covariance / c.var_a

    def _curvature_scale(self, sums: NDArray[np.float64]) -> float:
        c = centred(sums)
        return 1 / (sqrt(c.var_a) * sqrt(c.var_b)) if c.n and min(c.var_a, c.var_b) > 0 else 0.0

    def _smooth_hessian(self, A: Fields, B: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Differentiate :math:`-\rho = -C V^{-1/2} / |\tilde B|` twice, C the covariance and V the variance of A*."""
        u, v = A.value - A.value.mean(), B - B.mean()
        C, V = float(u @ v), float(u @ u)
        C_1 = np.array([v @ A.x, v @ A.y])
        V_1 = 2 * np.array([u @ A.x, u @ A.y])
        slopes = np.stack([A.x - A.x.mean(), A.y - A.y.mean()])
        C_2 = np.array([[v @ A.xx, v @ A.xy], [v @ A.xy, v @ A.yy]])
        V_2 = 2 * (slopes @ slopes.T + np.array([[u @ A.xx, u @ A.xy], [u @ A.xy, u @ A.yy]]))
        mixed = np.outer(C_1, V_1)
        rho_2 = C_2 - (mixed + mixed.T + C * V_2) / (2 * V) + 3 * C * np.outer(V_1, V_1) / (4 * V**2)
        return np.asarray(-rho_2 / (sqrt(V) * sqrt(float(v @ v))))

    def _only_zeros(self, margin: Margin) -> NDArray[np.float64]:
        """Return the kernel's sums over pixels that read only zeros, which the offset u0 sees as -u0."""
        n, sv, svv = margin
        u = -float(self._offsets[0])
        return np.array([u * n, sv, u * u * n, u * sv, svv, 0, 0, 0, 0, 0, 0, n])

    @staticmethod
    def _slopes(sums: NDArray[np.float64], c: Centred) -> NDArray[np.float64]:
        """Return the derivatives of the loss that each row of sums contributes."""
        slopes = sums[:, 5:7]
        towards_b = (sums[:, 9:11] - c.mean_v * slopes) / (sqrt(c.var_a) * sqrt(c.var_b))
        towards_a = (sums[:, 7:9] - c.mean_u * slopes) / c.var_a
        return np.asarray(c.rho * towards_a - towards_b)

    def _moments(self, hat: HatSampler, x: Cell, y: Cell) -> MomentsNCC:
        u0, v0 = self._offsets
        overlap = hat.overlap(self.domain, x, y)
        n, sv, svv = self._margins.beside(overlap)
        u = -float(u0)
        P, C, S = np.full((4, 4), u * u * n), np.full(4, u * sv), np.full(4, u * n)
        if overlap is not None:
            sums = hat.moments(_kernels.cell_moments_ncc, overlap, x, y, (u0, v0), threads=self.threads)
            P += symmetric(sums[:10])
            C += sums[10:14]
            S += sums[14:18]
            sv, svv, n = sv + sums[18], svv + sums[19], n + sums[20]
        if n == 0:
            raise self._nothing_left(x, y)
        var_b = svv - sv * sv / n
        V = P - np.outer(S, S) / n
        if self._noise is not None and overlap is not None:
            V = self._noise.taken_off(V, sums[20], x, y)
            var_b -= sums[20] * self._noise.reference
        if not var_b > self._rounding(svv, n, v0):
            raise self._constant("reference", x, y)
        return MomentsNCC(C - S * sv / n, V, var_b, self._rounding(float(P.diagonal().max()), n, u0))

    def _rounding(self, squares: float, n: float, offset: float) -> float:
        """Return the variance that rounding alone can leave in a sum of squares about an offset, or in grey levels."""
        eps = 8 * float(np.finfo(self.images[1].image.dtype).eps)
        return eps * squares + eps**2 * n * float(offset) ** 2

    def _constant(self, name: str, x: Cell, y: Cell) -> UndefinedLossError:
        """Make the error for an image without structure."""
        return UndefinedLossError(
            f"{name} is constant over the domain {self.domain} at displacement ({x.whole + x.fraction:g}, "
            f"{y.whole + y.fraction:g}) px, where its correlation is undefined; use a domain with structure, or MSE"
        )


def _sampler_of(reference: Masked, moving: Masked, kernel: Gaussian | str) -> HatSampler | GaussianSampler:
    """Return what reads two images with a kernel."""
    return GaussianSampler(reference, moving, kernel) if isinstance(kernel, Gaussian) else HatSampler(reference, moving)


def _listed(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return some displacements as a flat array."""
    try:
        listed = np.atleast_1d(np.asarray(values))
        numbers = listed.astype(np.float64) if listed.dtype.kind in "biuf" else None
    except (TypeError, ValueError, OverflowError):
        numbers = None
    if numbers is None or numbers.ndim != 1:
        raise _checks.InputError(f"{name} is {_checks.in_words(values)}; give a list of displacements in pixels")
    return numbers


def _mean(image: Image, used: Mask | None) -> float:
    """Return the mean of the pixels in use, 0 if there are none."""
    levels = image if used is None else image[used != 0]
    return float(levels.mean(dtype=np.float64)) if levels.size else 0.0
