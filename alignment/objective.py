"""The objective: a loss L(dx, dy) between a shifted moving image and a reference, whatever its formula.

Two ways of evaluating live side by side. The *direct* one is the definition: a fused pass over the two images gives the
value and both derivatives at one displacement. The *cells* are the engine: a pass of the same cost gives the moments of
a whole unit cell, which are kept, and every further displacement in that cell costs nothing. No shifted image is built.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks, _kernels, propagation
from ._checks import UndefinedLossError
from .bands import Window
from .bilinear import Cell, one_sided, split
from .cells import Moments
from .descent import Law
from .gaussian import Fields, Gaussian, nearest
from .margins import NO_MARGIN, Margin, Margins
from .propagation import Cleaned, Noise, noise_of
from .pyramid import Masked
from .samplers import GaussianSampler, HatSampler, Offsets, sampler_of
from .sums import Centred

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
        self._sampler = sampler_of(reference, moving, kernel)
        self._offsets = self._chosen_offsets()
        self._margins = Margins(self._sampler, domain, float(self._offsets[1]))
        self._cells: dict[tuple[int, int], Moments] = {}
        self._noise = None
        self.threads = 1
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
        value, gradient = self._one_sided(self._locate(dx), self._locate(dy))
        if self.kernel == "hat" and len(self._sides) == 2 and (dx.is_integer() or dy.is_integer()):
            gradient = (gradient + self._one_sided(split(dx, side="left"), split(dy, side="left"))[1]) / 2
        return value, gradient

    def value(self, dx: float, dy: float) -> float:
        """Return the loss at a displacement."""
        return self.value_and_gradient(dx, dy)[0]

    def __call__(self, dx: float, dy: float) -> float:
        """Return the loss at a displacement."""
        return self.value(dx, dy)

    @abstractmethod
    def correlation(self, dx: float, dy: float) -> float:
        """Return the correlation coefficient of the images there, whatever this objective minimises."""

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
        across, down = _checks.displacements("dx", dx), _checks.displacements("dy", dy)
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
        moments = tuple(self.cell(x.whole, y.whole).polynomials)
        constants, units = np.array(law.constants), tuple(scale.tolist())
        steps, left = _kernels.descend_in_cell(
            moments, cell, law.adam, constants, memory, place, units, tolerance, rows
        )
        self.evaluations += steps
        return steps, left

    def clear_cache(self) -> None:
        """Forget the cells' moments, as for a benchmark."""
        self._cells.clear()
        self._margins.clear()

    def reference_variance(self) -> float:
        """Return the variance of the reference's grey levels over the domain."""
        top, bottom, left, right = self.domain
        reference, used = self.images[0]
        levels = reference[top:bottom, left:right]
        return float((levels if used is None else levels[used[top:bottom, left:right] != 0]).var(dtype=np.float64))

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

    def hessian_from(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Return the curvature of the loss from the products of the two images' slopes in rows of Gaussian sums.

        Notes
        -----
        By parts, :math:`\sum A_{ij} B = -\sum A_i B_j`, the borders aside. Noise that the images do not share
        cancels in these products, where :math:`\sum A_i A_j` would count it as structure.
        """
        J = sums[:, 12:16].sum(axis=0).reshape(2, 2)
        return np.asarray((J + J.T) / 2 * self._curvature_scale(sums))

    def without_noise(self, sums: NDArray[np.float64], dx: float, dy: float, *, noisier: float = 0.5) -> Cleaned:
        """Take off rows of Gaussian sums what the images' own noise has put in; see `propagation.without_noise`."""
        assert isinstance(self.kernel, Gaussian)
        return propagation.without_noise(sums, self.kernel, (dx, dy), self._gain, noisier=noisier)

    def gradient_noise(
        self, slopes: NDArray[np.float64], cleaned: Cleaned, dx: float, dy: float
    ) -> NDArray[np.float64]:
        """Return the covariance of each block's share in the gradient; see `propagation.gradient_noise`."""
        assert isinstance(self.kernel, Gaussian)
        scale = self._curvature_scale(cleaned.sums)
        return propagation.gradient_noise(slopes, cleaned, self.kernel, (dx, dy), scale)

    def noise_fitted(self, slopes: NDArray[np.float64], cleaned: Cleaned) -> NDArray[np.float64]:
        """Return what the loss's own fit of gain and offset takes off the `gradient_noise` of all blocks together."""
        return np.zeros((2, 2))

    def _locate(self, displacement: float) -> Cell:
        """Split one coordinate of a displacement as the kernel of this objective needs it."""
        return split(displacement, side=self._sides[0]) if self.kernel == "hat" else Cell(*nearest(displacement))

    def _one_sided(self, x: Cell, y: Cell) -> tuple[float, NDArray[np.float64]]:
        """Return the value and the gradient as the given cell shows them."""
        if self.evaluation == "direct":
            return self._directly(x, y)
        point = self.cell(x.whole, y.whole).at(x.fraction, y.fraction)
        return point.value, np.array([point.a, point.b])

    def _directly(self, x: Cell, y: Cell) -> tuple[float, NDArray[np.float64]]:
        """Return the value and the gradient at one displacement by the fused pass."""
        self.passes += 1
        overlap = self._sampler.overlap(self.domain, x, y)
        sums = self._sums(np.array([overlap]), x, y) if overlap is not None else np.zeros((1, 16))
        return self._from_sums(sums, self._margins.beside(overlap), x, y)

    def _sums(self, blocks: NDArray[np.int64], x: Cell, y: Cell) -> NDArray[np.float64]:
        """Return the sums of the fused pass, one row for each rectangle."""
        if isinstance(self._sampler, GaussianSampler):
            return self._sampler.sums(blocks, x, y, self._offsets, threads=self.threads)
        return self._hat_sums(self._sampler, blocks, x, y)

    def _nothing_left(self, x: Cell, y: Cell) -> UndefinedLossError:
        """Make the error for a displacement at which the masks leave no pixel."""
        return UndefinedLossError(
            f"at displacement ({x.whole + x.fraction:g}, {y.whole + y.fraction:g}) px the masks leave no pixel to "
            "compare; move less far or use masks that overlap"
        )

    def _chosen_offsets(self) -> Offsets:
        """Return grey levels (u0, v0) for the sums to be about, in the dtype of the images."""
        zero = self.images[1].image.dtype.type(0)
        return zero, zero

    @abstractmethod
    def _from_sums(
        self, sums: NDArray[np.float64], margin: Margin, x: Cell, y: Cell
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the value and the gradient from rows of sums that together cover the overlap."""

    @abstractmethod
    def _shares(self, sums: NDArray[np.float64], margin: Margin) -> NDArray[np.float64]:
        """Return each block's share in the gradient, from its row of sums."""

    @abstractmethod
    def _hat_sums(self, hat: HatSampler, blocks: NDArray[np.int64], x: Cell, y: Cell) -> NDArray[np.float64]:
        """Return the sums of the loss's own pass with the hat."""

    @abstractmethod
    def _moments(self, hat: HatSampler, x: Cell, y: Cell) -> Moments:
        """Return the moments of one cell by one pass."""

    @abstractmethod
    def _smooth_hessian(self, A: Fields, B: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the exact Hessian from the moving image's derivatives at every pixel, and the reference there."""

    @abstractmethod
    def _gain(self, c: Centred) -> float:
        """Return the factor between the grey levels of the two images that this loss allows for."""

    @abstractmethod
    def _curvature_scale(self, sums: NDArray[np.float64]) -> float:
        """Return what turns the products of slopes into second derivatives of the loss."""
