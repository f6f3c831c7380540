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

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import UndefinedLossError
from .descent import descending_step

Array = NDArray[np.float64]

# the upper triangle of a symmetric 4 x 4 matrix, in the order of the kernels
_UPPER = np.triu_indices(4)
# pixels: a step that may be judged by the slope alone, and one that goes nowhere
_NEAR, _ARRIVED = 1e-6, 1e-12
# of a loss, relative to it
_ROUNDING = 1e-15


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


class Point(NamedTuple):
    """A function's value and derivatives along a and b at one point."""

    value: float
    a: float
    b: float
    aa: float
    ab: float
    bb: float


class Polynomials(NamedTuple):
    """A loss on a cell as compiled code takes it: v, or :math:`-c / (v s)^{1/2}`, where v is above a floor.

    Attributes
    ----------
    numerator, form : ndarray of shape (3, 3), (5, 5)
        The coefficients [q, p] of :math:`a^p b^q` in c and v.
    spread : float
        s, or 0 for the loss v.
    floor : float
        Up to this v the loss is undefined.
    """

    numerator: Array
    form: Array
    spread: float
    floor: float


class Moments(Protocol):
    """What describes a loss on a cell."""

    def expand(self, a: ArrayLike, b: ArrayLike) -> Expansion:
        """Return the loss with its first and second derivatives at any number of points of the cell."""

    def at(self, a: float, b: float) -> Point:
        """Return the same at one point, in plain floats, which are far quicker there than arrays."""

    def on_grid(self) -> Array:
        """Return the loss on the grid of `GRID` by `GRID`, element [i, j] at a = GRID[i], b = GRID[j]."""

    @property
    def polynomials(self) -> Polynomials:
        """The loss as compiled code takes it."""


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


# points along a and b, close enough that every basin of a cell holds one, and their powers 1, x, x^2
GRID = np.linspace(0, 1, 17)
_POWERS = np.stack([np.ones_like(GRID), GRID, GRID**2], axis=1)


class Biquadratic:
    r"""A quadratic form in the weights, as a polynomial in a and b: quick at one point.

    Notes
    -----
    The weights are combinations of :math:`m = (1, a, b, ab)`, w = T m, so that

    .. math:: w' M w = m' (T' M T) m = \sum_{i, j \le 2} K_{ij}\, a^i b^j
    """

    _T = np.array([[1, -1, -1, 1], [0, 1, 0, -1], [0, 0, 1, -1], [0, 0, 0, 1]], np.float64)

    def __init__(self, matrix: Array) -> None:
        Q = (self._T.T @ matrix @ self._T).tolist()
        self._K = (
            (Q[0][0], 2 * Q[0][2], Q[2][2]),
            (2 * Q[0][1], 2 * (Q[0][3] + Q[1][2]), 2 * Q[2][3]),
            (Q[1][1], 2 * Q[1][3], Q[3][3]),
        )

    def on_grid(self) -> Array:
        """Return the values on the grid."""
        values: Array = _POWERS @ np.array(self._K) @ _POWERS.T
        return values

    def coefficients(self) -> Array:
        """Return the coefficients [q, p] of :math:`a^p b^q`: shape (5, 5), the last two rows and columns zero."""
        K = np.zeros((5, 5))
        K[:3, :3] = np.array(self._K).T
        return K

    def at(self, a: float, b: float) -> Point:
        """Return the value and the derivatives at one point, by Horner's rule along b, then a."""
        (k00, k01, k02), (k10, k11, k12), (k20, k21, k22) = self._K
        r0, r1, r2 = (k02 * b + k01) * b + k00, (k12 * b + k11) * b + k10, (k22 * b + k21) * b + k20
        s0, s1, s2 = 2 * k02 * b + k01, 2 * k12 * b + k11, 2 * k22 * b + k21
        return Point(
            value=(r2 * a + r1) * a + r0,
            a=2 * r2 * a + r1,
            b=(s2 * a + s1) * a + s0,
            aa=2 * r2,
            ab=2 * s2 * a + s1,
            bb=2 * ((k22 * a + k12) * a + k02),
        )


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
        value, *derivatives = (part / self.n for part in quadratic_form(self.G, weights(a, b)))
        return Expansion(np.maximum(value, 0.0), *derivatives)  # of a perfect match rounding may leave less than 0

    def at(self, a: float, b: float) -> Point:
        """Return the same at one point."""
        point = self._polynomial.at(a, b)
        return point if point.value >= 0 else point._replace(value=0.0)

    def on_grid(self) -> Array:
        """Return the same on the grid."""
        return self._polynomial.on_grid()

    @cached_property
    def polynomials(self) -> Polynomials:
        """The MSE as compiled code takes it."""
        return Polynomials(np.zeros((3, 3)), self._polynomial.coefficients(), 0.0, -math.inf)

    @cached_property
    def _polynomial(self) -> Biquadratic:
        return Biquadratic(self.G / self.n)


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
            raise self._undefined()
        root = np.sqrt(v.value)
        scale = -1 / (root * np.sqrt(self.variance_b))
        half = 1 / (2 * v.value)

        def second(c_pq: Array, v_pq: Array, p: tuple[Array, Array], q: tuple[Array, Array]) -> Array:
            (c_p, v_p), (c_q, v_q) = p, q
            products = c_p * v_q + c_q * v_p + c.value * v_pq
            return np.asarray(scale * (c_pq - products * half + 3 * c.value * v_p * v_q * half**2))

        return Expansion(
            value=scale * c.value,
            a=scale * (c.a - c.value * v.a * half),
            b=scale * (c.b - c.value * v.b * half),
            aa=second(c.aa, v.aa, (c.a, v.a), (c.a, v.a)),
            ab=second(c.ab, v.ab, (c.a, v.a), (c.b, v.b)),
            bb=second(c.bb, v.bb, (c.b, v.b), (c.b, v.b)),
        )

    def at(self, a: float, b: float) -> Point:
        """Return the same at one point."""
        c0, c1, c2, c3 = self._linear
        c, c_a, c_b, c_ab = c0 + c1 * a + (c2 + c3 * a) * b, c1 + c3 * b, c2 + c3 * a, c3
        v, v_a, v_b, v_aa, v_ab, v_bb = self._polynomial.at(a, b)
        if not v > self.rounding:
            raise self._undefined()
        scale = -1 / math.sqrt(v * self.variance_b)
        half = 1 / (2 * v)
        curved = 3 * c * half * half
        return Point(
            value=scale * c,
            a=scale * (c_a - c * v_a * half),
            b=scale * (c_b - c * v_b * half),
            aa=scale * (curved * v_a * v_a - (2 * c_a * v_a + c * v_aa) * half),
            ab=scale * (curved * v_a * v_b - (c_a * v_b + c_b * v_a + c * v_ab) * half + c_ab),
            bb=scale * (curved * v_b * v_b - (2 * c_b * v_b + c * v_bb) * half),
        )

    def on_grid(self) -> Array:
        """Return the same on the grid; where the correlation is undefined, that it is not there."""
        c0, c1, c2, c3 = self._linear
        c = _POWERS[:, :2] @ np.array([[c0, c2], [c1, c3]]) @ _POWERS[:, :2].T
        v = self._polynomial.on_grid()
        defined = v > self.rounding
        values = -c / np.sqrt(np.where(defined, v, 1.0) * self.variance_b)
        return np.where(defined, values, 0.0)

    @cached_property
    def polynomials(self) -> Polynomials:
        """The negative NCC as compiled code takes it."""
        c0, c1, c2, c3 = self._linear
        numerator = np.array([[c0, c1, 0.0], [c2, c3, 0.0], [0.0, 0.0, 0.0]])
        return Polynomials(numerator, self._polynomial.coefficients(), float(self.variance_b), float(self.rounding))

    @cached_property
    def _polynomial(self) -> Biquadratic:
        return Biquadratic(self.V)

    @cached_property
    def _linear(self) -> tuple[float, float, float, float]:
        """The coefficients of 1, a, b and ab in w'C."""
        c0, c1, c2, c3 = self.C.tolist()
        return c0, c1 - c0, c2 - c0, c0 - c1 - c2 + c3

    @staticmethod
    def _undefined() -> UndefinedLossError:
        """Make the error for an image without structure."""
        return UndefinedLossError(
            "the interpolated moving image is constant over the domain, where its correlation is undefined; "
            "use a domain with structure, or MSE"
        )


def lowest(moments: Moments) -> tuple[float, float, float]:
    r"""Return the lowest point of a loss on the closed cell: (a, b, value).

    Notes
    -----
    Newton's method, projected on the cell, from every point of a grid that none of its neighbours lies below, but at
    the most four: of two images there is usually one.
    """
    return min((_descend(moments, a, b) for a, b in _basins(moments.on_grid())), key=lambda found: found[2])


def _basins(values: Array) -> list[tuple[float, float]]:
    """Return the points of the grid that are not above their neighbours, the lowest four."""
    wide = np.full((values.shape[0] + 2, values.shape[1] + 2), np.inf)
    wide[1:-1, 1:-1] = values
    around = np.minimum(np.minimum(wide[:-2, 1:-1], wide[2:, 1:-1]), np.minimum(wide[1:-1, :-2], wide[1:-1, 2:]))
    i, j = np.nonzero(values <= around)
    order = np.argsort(values[i, j], kind="stable")[:4]
    return [(float(GRID[i[n]]), float(GRID[j[n]])) for n in order]


def _descend(moments: Moments, a: float, b: float) -> tuple[float, float, float]:
    """Descend from a point of the cell by Newton's method.

    A coordinate at a border that the gradient presses against stays there, the others take the step, halved until the
    loss falls. Of the last steps only the slope tells whether they lead down: the loss falls by less than its rounding.
    """
    p = moments.at(a, b)
    for _ in range(40):
        held_a = (a <= 0 and p.a >= 0) or (a >= 1 and p.a <= 0)
        held_b = (b <= 0 and p.b >= 0) or (b >= 1 and p.b <= 0)
        if held_a and held_b:
            break
        if held_a or held_b:
            step_a = 0.0 if held_a else -p.a / max(abs(p.aa), 1e-300)
            step_b = 0.0 if held_b else -p.b / max(abs(p.bb), 1e-300)
        else:
            step_a, step_b = descending_step(p.a, p.b, p.aa, p.ab, p.bb)
        for _ in range(60):
            next_a, next_b = min(max(a + step_a, 0.0), 1.0), min(max(b + step_b, 0.0), 1.0)
            q = moments.at(next_a, next_b)
            moved = max(abs(next_a - a), abs(next_b - b))
            falls = q.value <= p.value + (_ROUNDING * abs(p.value) if moved < _NEAR else 0.0)
            if falls or moved < _ARRIVED:
                break
            step_a, step_b = step_a / 2, step_b / 2
        if not falls:
            break
        a, b, p = next_a, next_b, q
        if moved < _ARRIVED:
            break
    return a, b, p.value


def _dot(left: Array, right: Array) -> Array:
    """Sum the products along the last axis."""
    product: Array = np.asarray((left * right).sum(axis=-1))
    return product
