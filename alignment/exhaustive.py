r"""The lowest point of a loss over a whole box of displacements, with a bound that says that there is no lower one.

The moments of a cell (see `cells`) are sums of products of the two images, moved by whole pixels. Those of *all* the
cells of a box are therefore correlations and box sums: Fourier transforms (of the rows alone, where the box is low) and
six running sums describe the loss completely, at every fraction of a pixel, without a pass over the images for any
displacement.

What is left is a search in a handful of numbers per cell. Between the points of a grid the loss cannot dip below them
by more than its curvature allows; cells that cannot reach the lowest point known are left out, the others looked at on
a grid twice as fine, and the few that remain are minimised exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks, _kernels
from ._checks import Image, InputError, Mask, UndefinedLossError
from .cells import MomentsMSE, MomentsNCC, lowest
from .lengths import fast_length
from .losses import MSE, NCC
from .objective import Objective
from .search import Candidate, LagSurface, minima

Array = NDArray[np.float64]

# the corners of a cell, and where each pair of them stands in the upper triangle of the moments
_CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))
_PAIRS = [(i, j) for i in range(4) for j in range(i, 4)]
# so few sums along the columns take less time than a transform there and back
_FEW_ROWS = 48
# how often the grid is refined before what remains is minimised cell by cell
_REFINEMENTS = 3
# pixels: nearer minima are the same one
_DISTINCT = 2
# the variance that rounding leaves, as a share of the sum of squares
_ROUNDING = 1e-13


class Minimum(NamedTuple):
    """The lowest point of a loss over a box of displacements.

    Attributes
    ----------
    dx, dy : float
        In pixels.
    loss : float
    runner_up : Candidate or None
        The lowest other local minimum among whole displacements, at least two pixels away; None if there is none.
    cells : int
        How many cells could not be left out by the bound and were minimised exactly.
    """

    dx: float
    dy: float
    loss: float
    runner_up: Candidate | None
    cells: int


def global_minimum(
    objective: Objective, *, max_shift: float | tuple[float, float], min_overlap: float = 0.25
) -> Minimum:
    r"""Return the lowest point of a loss over all displacements within a box, sub-pixel and without a starting point.

    Parameters
    ----------
    objective : MSE or NCC
        With the bilinear kernel and no noise correction. Its domain should lie inside the frame by `max_shift` unless
        the zeros outside are meant to be compared.
    max_shift : int or (int, int)
        The largest abs(dx) and abs(dy), in whole pixels.
    min_overlap : float
        Masks may leave few pixels to compare: cells with fewer than this share of the most that any cell has are left
        out.

    Returns
    -------
    Minimum

    Raises
    ------
    InputError
        If an argument is not as described, or the loss is undefined in the whole box.

    Notes
    -----
    Along either axis the MSE of a cell is a quadratic polynomial, whose second derivative along a is largest at b = 0
    or b = 1; with :math:`m_a, m_b` the largest ones, on a rectangle of side h

    .. math:: L \ge \min_{corners} L - (m_a + m_b)\, h^2 / 8

    For the NCC, c is linear along either axis and :math:`\sqrt v` convex, with a second derivative of at most
    :math:`m / 2\sqrt v`, m now those of v, so that

    .. math:: \rho \le \max_{corners} \rho \left(1 + \frac{(m_a + m_b)\, h^2}{16\, v_{min}}\right), \qquad
        v_{min} \ge \min_{corners} v - (m_a + m_b)\, h^2 / 8

    Cells are closed: where two meet, masks may leave them different pixels to compare, and the lower one counts.

    References
    ----------
    A. H. Land, A. G. Doig, "An automatic method of solving discrete programming problems", Econometrica 28, 1960, for
    branching and bounding.

    Examples
    --------
    >>> import numpy as np
    >>> from alignment.losses import NCC
    >>> y, x = np.mgrid[0:60, 0:80].astype(float)
    >>> def scene(x, y):
    ...     return np.sin(x / 2) * np.cos(y / 3) + np.sin((x + 2 * y) / 5)
    >>> objective = NCC(scene(x, y), scene(x - 5.3, y + 2.6), domain=(9, 51, 9, 71))
    >>> found = global_minimum(objective, max_shift=8)
    >>> round(found.dx, 1), round(found.dy, 1), objective.passes
    (5.3, -2.6, 0)
    """
    box = _checked(objective, max_shift)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is no minimum
        cells = CellBox(objective, box, _checks.number_between("min_overlap", min_overlap, 0, 1))
        whole = minima(cells.corners())
        if not whole:
            raise UndefinedLossError("the loss is undefined in the whole box; use images with structure, or MSE")
        left = cells.that_may_hold_the_minimum(whole[0].loss)
        best = min((cells.lowest(*cell) for cell in left), key=lambda found: found[2])
    others = [c for c in whole if max(abs(c.dx - best[0]), abs(c.dy - best[1])) > _DISTINCT]
    return Minimum(*best, others[0] if others else None, len(left))


class CellBox:
    """The moments of all the cells of a box of displacements.

    Parameters
    ----------
    objective : Objective
    max_shift : (int, int)
        (Mx, My); the cells [kx, kx + 1] x [ky, ky + 1] with -Mx <= kx < Mx and -My <= ky < My.
    min_overlap : float
        See `global_minimum`.

    Attributes
    ----------
    matrix : ndarray of shape (2 My, 2 Mx, 4, 4)
        The quadratic forms: of the squared error, or of the moving image's variance.
    vector : ndarray of shape (2 My, 2 Mx, 4)
        The covariances of the corners with the reference; zero for the MSE.
    variance_b, n : ndarray of shape (2 My, 2 Mx)
        The reference's centred sum of squares, and the number of pixels.
    usable : bool ndarray of shape (2 My, 2 Mx)
        Where enough pixels are compared, and those of the reference differ.
    """

    def __init__(self, objective: Objective, max_shift: tuple[int, int], min_overlap: float = 0.25) -> None:
        self.max_shift = max_shift
        self.correlates = isinstance(objective, NCC)
        sums = _Sums(objective, max_shift)
        P, C, S, sv, svv, n = sums.unmasked() if sums.used is None and sums.usable is None else sums.masked()
        self.n = n
        some = np.maximum(n, 1.0)
        if self.correlates:
            self.matrix = P - S[..., :, None] * (S / some[..., None])[..., None, :]
            self.vector = C - S * (sv / some)[..., None]
            self.variance_b = svv - sv**2 / some
            self.floor = _ROUNDING * np.trace(P, axis1=-2, axis2=-1)
            self.usable = self.variance_b > _ROUNDING * svv
        else:
            self.matrix = P - C[..., :, None] - C[..., None, :] + svv[..., None, None]
            self.vector = np.zeros_like(C)
            self.variance_b, self.floor = svv, np.full_like(n, -np.inf)
            self.usable = np.ones(n.shape, np.bool_)
        self.usable &= n >= max(min_overlap * float(n.max()), 1.0)

    def cell(self, kx: int, ky: int) -> MomentsMSE | MomentsNCC:
        """Return the moments of one cell, as `Objective.cell` does, about other offsets."""
        at = ky + self.max_shift[1], kx + self.max_shift[0]
        if self.correlates:
            return MomentsNCC(self.vector[at], self.matrix[at], float(self.variance_b[at]), float(self.floor[at]))
        return MomentsMSE(self.matrix[at], float(self.n[at]))

    def lowest(self, kx: int, ky: int) -> tuple[float, float, float]:
        """Return the lowest point of one cell: (dx, dy, loss)."""
        a, b, loss = lowest(self.cell(kx, ky))
        return round(kx + a, 12) + 0.0, round(ky + b, 12) + 0.0, loss  # beyond, there is only rounding

    def corners(self) -> LagSurface:
        """Return the loss at the whole displacements of the box, inf where no cell around is usable."""
        mx, my = self.max_shift
        loss = np.empty((2 * my + 1, 2 * mx + 1))
        _kernels.losses_at_corners(*self._described, self.usable, loss)
        return LagSurface(loss, np.full(loss.shape, float(self.n.max())), self.max_shift)

    def that_may_hold_the_minimum(self, loss: float) -> list[tuple[int, int]]:
        """Return the cells that a bound does not keep above a loss, or above what is found on the way."""
        rows, columns = np.nonzero(self.usable)
        for halvings in range(_REFINEMENTS + 1):
            bound, found = self._bound(rows, columns, halvings)
            loss = min(loss, float(found.min()))
            rows, columns = rows[bound <= loss], columns[bound <= loss]
            if len(rows) == 1:
                break
        mx, my = self.max_shift
        return list(zip((columns - mx).tolist(), (rows - my).tolist(), strict=True))

    @property
    def _described(self) -> tuple[bool, Array, Array, Array, Array]:
        """The losses of all cells, as the kernels want them."""
        return self.correlates, self.matrix, self.vector, self.variance_b if self.correlates else self.n, self.floor

    def _bound(self, rows: NDArray[np.intp], columns: NDArray[np.intp], halvings: int) -> tuple[Array, Array]:
        """Return what the loss of some cells cannot lie below, from its values on a grid, and the lowest of these."""
        bound, found = np.empty((2, len(rows)))
        _kernels.bound_cells(*self._described, rows, columns, 2**halvings, bound, found)
        return bound, found


class _Sums:
    """The sums over the domain of an objective that the moments of all cells of a box are made of."""

    def __init__(self, objective: Objective, max_shift: tuple[int, int]) -> None:
        top, bottom, left, right = objective.domain
        mx, my = max_shift
        self.size = bottom - top, right - left
        self.reach = 2 * my + 1, 2 * mx + 1
        reference, moving = objective.images
        offset = float(reference.image[::8].mean())  # any grey level amid the others keeps the digits
        # what a pixel of the domain may read, with the zeros outside the frame
        self.A = _read(moving.image, (top - my, bottom + my + 1, left - mx, right + mx + 1), 0)
        self.A -= offset
        self.B = reference.image[top:bottom, left:right].astype(np.float64)
        self.B -= offset
        self.used = None if reference.mask is None else reference.mask[top:bottom, left:right]
        self.usable = None
        if moving.mask is not None:
            self.usable = _read(moving.mask, (top - my, bottom + my + 1, left - mx, right + mx + 1), 1)

    def unmasked(self) -> tuple[Array, Array, Array, Array, Array, Array]:
        """Return P, C, S and the sums over B, B^2 and 1 of every cell."""
        rows, columns = self.reach
        boxes, P = np.empty((6, rows, columns)), np.empty((rows - 1, columns - 1, 4, 4))
        _kernels.sums_of_boxes(self.A, *self.size, boxes)
        _kernels.products_of_corners(boxes, P)
        if rows <= _FEW_ROWS:
            correlation = self._correlated_by_rows(self.A[:-1, :-1], self.B)
        else:
            correlation = self._correlated(self._spectrum(self.A[:-1, :-1]), self._turned(self.B))
        C, S = (
            np.stack([sums[j : j + rows - 1, i : i + columns - 1] for i, j in _CORNERS], axis=-1)
            for sums in (correlation, boxes[0])
        )
        sv, svv, n = float(self.B.sum()), float(np.vdot(self.B, self.B)), float(self.B.size)
        return P, C, S, *np.broadcast_to(np.array([sv, svv, n])[:, None, None], (3, *P.shape[:2]))

    def masked(self) -> tuple[Array, Array, Array, Array, Array, Array]:
        """Return the same where masks decide which pixels count: all four corners must be usable."""
        A, ones = self.A, np.ones(self.A.shape)
        usable = ones if self.usable is None else self.usable.astype(np.float64)
        used = np.ones(self.size) if self.used is None else self.used.astype(np.float64)
        corners = [A[j : A.shape[0] - 1 + j, i : A.shape[1] - 1 + i] for i, j in _CORNERS]
        U = np.prod([usable[j : A.shape[0] - 1 + j, i : A.shape[1] - 1 + i] for i, j in _CORNERS], axis=0)
        one, first, second = (self._turned(used * field) for field in (1.0, self.B, self.B**2))

        def sums(field: Array, spectrum: NDArray[np.complex128]) -> Array:
            return self._correlated(self._spectrum(field), spectrum)[:-1, :-1]

        shape = (self.reach[0] - 1, self.reach[1] - 1)
        P, C, S = np.empty((*shape, 4, 4)), np.empty((*shape, 4)), np.empty((*shape, 4))
        for i, j in _PAIRS:
            P[..., i, j] = P[..., j, i] = sums(U * corners[i] * corners[j], one)
        for i in range(4):
            S[..., i], C[..., i] = sums(U * corners[i], one), sums(U * corners[i], first)
        return P, C, S, sums(U, first), sums(U, second), np.rint(sums(U, one))

    def _spectrum(self, field: Array) -> NDArray[np.complex128]:
        """Return the Fourier transform, at a length for which nothing wraps around."""
        shape = [fast_length(n + m - 1) for n, m in zip(self.size, self.reach, strict=True)]
        return np.asarray(np.fft.rfft2(field, shape))

    def _turned(self, field: Array) -> NDArray[np.complex128]:
        """Return the Fourier transform of a field turned by half a turn, with which a product is a correlation."""
        return self._spectrum(field[::-1, ::-1])

    def _correlated(self, field: NDArray[np.complex128], turned: NDArray[np.complex128]) -> Array:
        """Return a correlation from two transforms, within the reach; the first is spent."""
        (height, width), (rows, columns) = self.size, self.reach
        field *= turned
        some = np.fft.ifft(field, axis=0)[height - 1 : height - 1 + rows]  # the other rows need no second transform
        return np.fft.irfft(some, fast_length(width + columns - 1), axis=1)[:, width - 1 : width - 1 + columns]

    def _correlated_by_rows(self, field: Array, window: Array) -> Array:
        """Return the same from the two fields, without transforms along the columns."""
        (height, width), (rows, columns) = self.size, self.reach
        length = fast_length(width + columns - 1)
        whole = height + -height % 4
        parts = _parts(np.fft.rfft(field, length), whole + rows - 1)
        sums = np.empty((2, rows, parts.shape[2]))
        _kernels.correlate_rows(parts, _parts(np.fft.rfft(window[:, ::-1], length), whole), sums)
        return np.fft.irfft(sums[0] + 1j * sums[1], length)[:, width - 1 : width - 1 + columns]


def _parts(field: NDArray[np.complex128], rows: int) -> Array:
    """Return the real and the imaginary part of a field, above rows of zeros."""
    parts = np.zeros((2, rows, field.shape[1]))
    parts[:, : len(field)] = field.real, field.imag
    return parts


def _read(image: Image | Mask, rectangle: tuple[int, int, int, int], outside: float) -> Array:
    """Return a rectangle of an image that may reach beyond its frame."""
    top, bottom, left, right = rectangle
    height, width = image.shape
    within = image[max(0, top) : bottom, max(0, left) : right]
    if within.shape == (bottom - top, right - left):
        return within.astype(np.float64)
    out = np.full((bottom - top, right - left), outside, np.float64)
    out[max(0, -top) : height - top, max(0, -left) : width - left] = within
    return out


def _checked(objective: Objective, max_shift: float | tuple[float, float]) -> tuple[int, int]:
    """Check the arguments, and return the box."""
    if not isinstance(objective, MSE | NCC):
        raise InputError(f"objective is {_checks.in_words(objective)}; give an MSE or an NCC")
    if objective.kernel != "hat" or objective.corrected:
        raise InputError("objective has a Gaussian kernel or a noise correction; give one with kernel='hat' alone")
    both = max_shift if isinstance(max_shift, tuple | list) else (max_shift, max_shift)
    if len(both) != 2:
        raise InputError(f"max_shift is {_checks.in_words(max_shift)}; give one whole number, or two: (x, y)")
    mx, my = (_checks.whole_number("max_shift", m, at_least=1) for m in both)
    height, width = objective.shape
    if mx >= width or my >= height:
        said = _checks.in_words((mx, my))
        raise InputError(f"max_shift is {said}, beyond the images of shape {objective.shape}; give less")
    return mx, my
