r"""The exact cell: a handful of moments that describe a loss completely on one unit cell of displacements.

Let the displacement be (k + a, l + b) with integers k, l and fractions (a, b) in [0, 1]. A translation has the same
four bilinear weights at every pixel,

.. math:: w(a, b) = \left((1-a)(1-b),\; a(1-b),\; (1-a)b,\; ab\right), \qquad A^* = \sum_i w_i A_i

where :math:`A_0, \ldots, A_3` is the moving image moved by the four integer displacements at the corners of the cell
(upper left, upper right, lower left, lower right). Sums of products of :math:`A^*` are therefore quadratic forms in w
whose coefficients, the moments, do not depend on (a, b): one pass over the images finds them, and the value, gradient
and Hessian of the loss follow at any number of points of the cell without looking at a pixel again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import InputError

Array = NDArray[np.float64]

# the upper triangle of a symmetric 4 x 4 matrix, in the order of the kernels
_UPPER = np.triu_indices(4)


class Weights(NamedTuple):
    """The bilinear weights of the four corners and their derivatives, each of shape (..., 4)."""

    w: Array
    a: Array
    b: Array
    ab: Array


class Expansion(NamedTuple):
    """A function's value and derivatives along a and b, each of shape (...); pixels are the unit of a and b."""

    value: Array
    a: Array
    b: Array
    aa: Array
    ab: Array
    bb: Array


class Moments(Protocol):
    """What describes a loss on a cell."""

    def expand(self, a: ArrayLike, b: ArrayLike) -> Expansion:
        """Return the loss with its first and second derivatives at any number of points of the cell."""


def weights(a: ArrayLike, b: ArrayLike) -> Weights:
    r"""Return the four weights, their slopes along a and b and their mixed derivative.

    The second derivatives along one axis vanish: every weight is linear in a and linear in b.

    Examples
    --------
    >>> weights(0.25, 0.5).w
    array([0.375, 0.125, 0.375, 0.125])
    """
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    one = np.ones_like(a)
    return Weights(
        w=np.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b], axis=-1),
        a=np.stack([b - 1, 1 - b, -b, b], axis=-1),
        b=np.stack([a - 1, -a, 1 - a, a], axis=-1),
        ab=np.stack([one, -one, -one, one], axis=-1),
    )


def symmetric(upper: ArrayLike) -> Array:
    """Return the symmetric 4 x 4 matrix whose upper triangle is given row by row."""
    matrix = np.empty((4, 4))
    matrix[_UPPER] = upper
    matrix.T[_UPPER] = upper
    return matrix


def quadratic_form(matrix: Array, w: Weights) -> Expansion:
    r"""Expand :math:`w' M w` for a symmetric M.

    Notes
    -----
    .. math:: f_a = 2 w_a' M w, \quad f_{aa} = 2 w_a' M w_a, \quad f_{ab} = 2 (w_a' M w_b + w_{ab}' M w)
    """
    Mw, Ma, Mb = (v @ matrix for v in (w.w, w.a, w.b))
    return Expansion(
        value=_dot(Mw, w.w),
        a=2 * _dot(Mw, w.a),
        b=2 * _dot(Mw, w.b),
        aa=2 * _dot(Ma, w.a),
        ab=2 * (_dot(Ma, w.b) + _dot(Mw, w.ab)),
        bb=2 * _dot(Mb, w.b),
    )


def linear_form(vector: Array, w: Weights) -> Expansion:
    """Expand ``vector @ w``, whose second derivatives along one axis vanish."""
    zero = np.zeros(w.w.shape[:-1])
    return Expansion(w.w @ vector, w.a @ vector, w.b @ vector, zero, w.ab @ vector, zero)


@dataclass(frozen=True)
class MomentsMSE:
    r"""The MSE on a cell.

    Parameters
    ----------
    G : ndarray of shape (4, 4)
        :math:`G_{ij} = \sum D_i D_j` with :math:`D_i = A_i - B`.
    n : float
        The number of pixels.

    Notes
    -----
    The weights add up to one, so :math:`A^* - B = \sum_i w_i D_i` and

    .. math:: L(a, b) = w' G w / N

    Examples
    --------
    >>> import numpy as np
    >>> corners, B = np.array([1.0, 3.0, 5.0, 7.0]), 2.0
    >>> cell = MomentsMSE(np.outer(corners - B, corners - B), 1.0)
    >>> float(cell.expand(0.5, 0.5).value)
    4.0
    """

    G: Array
    n: float

    def expand(self, a: ArrayLike, b: ArrayLike) -> Expansion:
        """Return the MSE with its derivatives at (a, b)."""
        return Expansion(*(part / self.n for part in quadratic_form(self.G, weights(a, b))))


@dataclass(frozen=True)
class MomentsNCC:
    r"""The negative NCC on a cell.

    Parameters
    ----------
    C : ndarray of shape (4,)
        :math:`C_i = \sum \tilde A_i \tilde B`, centred.
    V : ndarray of shape (4, 4)
        :math:`V_{ij} = \sum \tilde A_i \tilde A_j`.
    variance_b : float
        :math:`\sum \tilde B^2`.
    rounding : float
        A variance up to this is nothing but rounding: there the correlation is undefined.

    Raises
    ------
    InputError
        By `expand`, where the interpolated image is constant.

    Notes
    -----
    With :math:`c = w' C` and :math:`v = w' V w`,

    .. math:: \rho(a, b) = \frac{c}{\sqrt{v}\,|\tilde B|}, \qquad
        \rho_a |\tilde B| = \frac{c_a}{v^{1/2}} - \frac{c v_a}{2 v^{3/2}}

    .. math:: \rho_{ab} |\tilde B| = \frac{c_{ab}}{v^{1/2}} - \frac{c_a v_b + c_b v_a + c v_{ab}}{2 v^{3/2}}
        + \frac{3 c v_a v_b}{4 v^{5/2}}

    Examples
    --------
    A moving image that is the reference, moved by half a pixel, correlates perfectly in the middle of the cell:

    >>> import numpy as np
    >>> C = np.array([0.5, 0.5, 0.5, 0.5])
    >>> V = 0.25 * np.ones((4, 4)) + np.diag([1.0, 1.0, 1.0, 1.0]) - 0.25
    >>> float(MomentsNCC(C, V, 1.0).expand(0.5, 0.5).value)
    -1.0
    """

    C: Array
    V: Array
    variance_b: float
    rounding: float = 0.0

    def expand(self, a: ArrayLike, b: ArrayLike) -> Expansion:
        """Return the negative NCC with its derivatives at (a, b)."""
        w = weights(a, b)
        c, v = linear_form(self.C, w), quadratic_form(self.V, w)
        if not (v.value > self.rounding).all():
            raise InputError(
                "the interpolated moving image is constant over the domain, where its correlation is undefined; "
                "use a domain with structure, or MSE"
            )
        root = np.sqrt(v.value)
        scale = -1 / (root * np.sqrt(self.variance_b))
        half = 1 / (2 * v.value)

        def second(c_pq: Array, v_pq: Array, p: tuple[Array, Array], q: tuple[Array, Array]) -> Array:
            (c_p, v_p), (c_q, v_q) = p, q
            return scale * (c_pq - (c_p * v_q + c_q * v_p + c.value * v_pq) * half + 3 * c.value * v_p * v_q * half**2)

        return Expansion(
            value=scale * c.value,
            a=scale * (c.a - c.value * v.a * half),
            b=scale * (c.b - c.value * v.b * half),
            aa=second(c.aa, v.aa, (c.a, v.a), (c.a, v.a)),
            ab=second(c.ab, v.ab, (c.a, v.a), (c.b, v.b)),
            bb=second(c.bb, v.bb, (c.b, v.b), (c.b, v.b)),
        )


def lowest(moments: Moments) -> tuple[float, float, float]:
    r"""Return the lowest point of a loss on the closed cell: (a, b, value).

    Notes
    -----
    The best of a 5 x 5 grid of points is refined by Newton's method, projected on the cell: a coordinate at a border
    that the gradient presses against stays there, the others take the exact step, halved until the loss falls.
    """
    grid = np.linspace(0, 1, 5)
    a, b = (g.ravel() for g in np.meshgrid(grid, grid))
    values = moments.expand(a, b).value
    best = int(np.argmin(values))
    point, value = np.array([a[best], b[best]]), float(values[best])
    for _ in range(30):
        e = moments.expand(*point)
        gradient = np.array([e.a, e.b], np.float64)
        hessian = np.array([[e.aa, e.ab], [e.ab, e.bb]], np.float64)
        free = ~(((point <= 0) & (gradient > 0)) | ((point >= 1) & (gradient < 0)))
        step = newton_step(gradient, hessian, free)
        moved = np.clip(point + step, 0.0, 1.0)
        while (lower := float(moments.expand(*moved).value)) > value and np.abs(step).max() > 1e-9:
            step = step / 2
            moved = np.clip(point + step, 0.0, 1.0)
        if lower > value or np.abs(moved - point).max() < 1e-12:
            break
        point, value = moved, lower
    return float(point[0]), float(point[1]), value


def newton_step(gradient: Array, hessian: Array, free: NDArray[np.bool_]) -> Array:
    r"""Return the step to the minimum of the quadratic model over the free coordinates.

    Notes
    -----
    .. math:: s = -H^{-1} g

    with the eigenvalues of H replaced by their magnitudes, which makes the step one of descent where the surface is
    a saddle or a hill.
    """
    step = np.zeros(2)
    if not free.any():
        return step
    g = gradient[free]
    eigenvalues, vectors = np.linalg.eigh(hessian[np.ix_(free, free)])
    magnitude = np.maximum(np.abs(eigenvalues), 1e-12 * max(float(np.abs(eigenvalues).max()), 1e-300))
    step[free] = -(vectors @ ((vectors.T @ g) / magnitude))
    return step


def _dot(left: Array, right: Array) -> Array:
    """Sum the products along the last axis."""
    return np.asarray((left * right).sum(axis=-1))
