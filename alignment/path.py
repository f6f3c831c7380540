r"""The path of a stack from displacements between pairs of its frames, by weighted least squares.

Between frames i and j, registered against one another, lies :math:`d_{ij} = p_j - p_i` with a covariance
:math:`C_{ij}`. Neighbours alone give a chain, whose errors add up; pairs that are further apart tie it together, and a
single pair that went wrong is outvoted by the others.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# rounds of solving at the most, with weights that give nobody up and with those that do
_ROUNDS = 15, 10
# standard deviations beyond which a pair pulls no more than it does there, and where Tukey's weights end
_HUBER = 1.345
_BIWEIGHT = 4.685
_SETTLED = 1e-4
# the weight that is left of an outlier: no frame is cut off altogether
_LEAST = 1e-6
# square pixels: no pair is known better than interpolation is
_FLOOR = 1e-6


class Path(NamedTuple):
    """Where each frame lies.

    Attributes
    ----------
    positions : ndarray of shape (N, 2)
        (dx, dy) in pixels, zero at the anchor; NaN for a frame that no pair links to it.
    covariances : ndarray of shape (N, 2, 2)
        In square pixels.
    weights : ndarray of shape (P,)
        What was left of each pair, from 1 (all) to 0 (an outlier).
    """

    positions: Array
    covariances: Array
    weights: Array


def solve(pairs: NDArray[np.int64], displacements: Array, covariances: Array, count: int, *, anchor: int = 0) -> Path:
    r"""Find the positions that agree best with the displacements of pairs.

    Parameters
    ----------
    pairs : int ndarray of shape (P, 2)
        The numbers (i, j) of the frames of each pair, i < j.
    displacements : ndarray of shape (P, 2)
        :math:`p_j - p_i`, in pixels.
    covariances : ndarray of shape (P, 2, 2)
        Of the displacements, in square pixels.
    count : int
        The number of frames.
    anchor : int
        The frame whose position is zero.

    Returns
    -------
    Path

    Notes
    -----
    Minimised is

    .. math:: \sum_{(i, j)} w_{ij}\, r_{ij}' C_{ij}^{-1} r_{ij}, \qquad r_{ij} = p_j - p_i - d_{ij}

    with Tukey's weights :math:`w = (1 - (|r| / 4.685 s)^2)^2` of the residual :math:`|r|^2 = r' C^{-1} r / 2` and its
    scale s, found by solving again and again; the first rounds take Huber's :math:`\min(1, 1.345\, s / |r|)`, which
    gives nobody up. Frames in the order of time make the normal equations block tridiagonal, with blocks as wide as
    the largest lag, so that a hundred thousand frames cost a hundred thousand small solutions. Where the residuals are
    larger than the covariances say, the covariances of the positions grow with them.

    References
    ----------
    P. J. Huber, E. M. Ronchetti, "Robust statistics", 2009, chapter 7.

    Examples
    --------
    >>> pairs = np.array([[0, 1], [1, 2], [0, 2], [2, 3], [1, 3]])
    >>> found = solve(pairs, np.array([[1.0, 0], [1, 0], [2, 0], [1, 0], [2, 0]]), np.tile(np.eye(2), (5, 1, 1)), 4)
    >>> found.positions[:, 0].round(6)
    array([0., 1., 2., 3.])
    """
    linked = _linked(pairs, count, anchor)
    use = linked[pairs[:, 0]] & linked[pairs[:, 1]]
    numbers = np.cumsum(linked) - 1
    inner = numbers[pairs[use]]
    precisions = np.linalg.inv(covariances[use] + _FLOOR * np.eye(2))
    weights = np.ones(len(inner))
    places = np.zeros((int(linked.sum()), 2))
    scale = 1.0
    for rounds, weigh in zip(_ROUNDS, (_huber, _biweight), strict=True):
        for _ in range(rounds):
            before = places
            system = _Normal(inner, precisions * weights[:, None, None], len(places), int(numbers[anchor]))
            places = system.solve(displacements[use])
            residual = places[inner[:, 1]] - places[inner[:, 0]] - displacements[use]
            size = np.sqrt(np.einsum("pi,pij,pj->p", residual, precisions, residual) / 2)
            if weigh is _huber:  # the scale is settled before anybody is given up
                scale = _scale(size, len(inner) - len(places) + 1)
            weights = np.maximum(weigh(size / scale), _LEAST)
            if float(np.abs(places - before).max(initial=0.0)) < _SETTLED:
                break
    variances = system.variances() * max(scale, 1.0) ** 2
    variances[numbers[anchor]] = 0.0
    return _spread_out(linked, places, variances, use, weights)


def _huber(size: Array) -> Array:
    """Return Huber's weights, which bound the pull of a residual."""
    return np.asarray(_HUBER / np.maximum(size, _HUBER))


def _biweight(size: Array) -> Array:
    """Return Tukey's weights, which end."""
    return np.asarray(np.maximum(1 - (size / _BIWEIGHT) ** 2, 0) ** 2)


def _scale(size: Array, freedom: int) -> float:
    """Return how much larger residuals are than their covariances say, by the median; 1 where none are left over."""
    if freedom <= 0 or len(size) < 4:
        return 1.0
    # the median of a Rayleigh variable over the square root of two is 0.8326; fitted positions take residuals away
    return max(float(np.median(size)) / 0.8326 * math.sqrt(len(size) / freedom), 1e-3)


def _spread_out(linked: NDArray[np.bool_], places: Array, variances: Array, use: NDArray[np.bool_], w: Array) -> Path:
    """Return the path over all frames, NaN where nothing leads."""
    positions = np.full((len(linked), 2), np.nan)
    covariances = np.full((len(linked), 2, 2), np.inf)
    weights = np.zeros(len(use))
    positions[linked], covariances[linked], weights[use] = places, variances, w
    return Path(positions, covariances, weights)


def _linked(pairs: NDArray[np.int64], count: int, anchor: int) -> NDArray[np.bool_]:
    """Say which frames some chain of pairs ties to the anchor."""
    parents = list(range(count))

    def root(n: int) -> int:
        while parents[n] != n:
            parents[n] = parents[parents[n]]
            n = parents[n]
        return n

    for i, j in pairs.tolist():
        parents[root(i)] = root(j)
    home = root(anchor)
    return np.array([root(n) == home for n in range(count)])


class _Normal:
    """The normal equations, as a block tridiagonal system of groups of frames."""

    def __init__(self, pairs: NDArray[np.int64], precisions: Array, count: int, anchor: int) -> None:
        self._pairs, self._precisions, self._count = pairs, precisions, count
        lag = int(np.diff(pairs, axis=1).max(initial=1))
        self._size = size = 2 * lag
        self._groups = groups = -(-count // lag)
        # the unknowns beyond the last frame, and the anchor, are zero by an equation of their own
        self._diagonal = np.zeros((groups, size, size))
        self._beside = np.zeros((max(groups - 1, 0), size, size))  # a group with the next one
        self._lag = lag
        self._add(pairs[:, 0], pairs[:, 0], precisions)
        self._add(pairs[:, 1], pairs[:, 1], precisions)
        self._add(pairs[:, 0], pairs[:, 1], -precisions)
        self._add(pairs[:, 1], pairs[:, 0], -precisions)
        for n in range(2 * count, groups * size):
            self._diagonal[n // size, n % size, n % size] = 1.0
        at = 2 * (anchor % lag)
        typical = float(np.trace(precisions, axis1=1, axis2=2).max(initial=1.0))
        self._diagonal[anchor // lag, [at, at + 1], [at, at + 1]] += 1e6 * typical
        self._factor()

    def _add(self, rows: NDArray[np.int64], columns: NDArray[np.int64], blocks: Array) -> None:
        """Add 2 x 2 blocks on or right of the diagonal."""
        own, other = rows // self._lag, columns // self._lag
        for target, chosen in ((self._diagonal, own == other), (self._beside, own + 1 == other)):
            g, r, c = own[chosen], 2 * (rows[chosen] % self._lag), 2 * (columns[chosen] % self._lag)
            for i in (0, 1):
                for j in (0, 1):
                    np.add.at(target, (g, r + i, c + j), blocks[chosen, i, j])

    def _factor(self) -> None:
        """Eliminate group after group: D_n - U' D_(n-1)^-1 U."""
        self._inverses = np.empty_like(self._diagonal)
        for n in range(self._groups):
            block = self._diagonal[n]
            if n:
                upper = self._beside[n - 1]
                block = block - upper.T @ self._inverses[n - 1] @ upper
            self._inverses[n] = np.linalg.inv((block + block.T) / 2)

    def solve(self, displacements: Array) -> Array:
        """Return the positions."""
        pull = np.einsum("pij,pj->pi", self._precisions, displacements)
        right = np.zeros((self._groups * self._lag, 2))
        np.add.at(right, self._pairs[:, 1], pull)
        np.add.at(right, self._pairs[:, 0], -pull)
        x = right.reshape(self._groups, self._size)
        for n in range(1, self._groups):
            x[n] -= self._beside[n - 1].T @ (self._inverses[n - 1] @ x[n - 1])
        for n in range(self._groups - 1, -1, -1):
            rest = x[n] - (self._beside[n] @ x[n + 1] if n + 1 < self._groups else 0.0)
            x[n] = self._inverses[n] @ rest
        return x.reshape(-1, 2)[: self._count].copy()

    def variances(self) -> Array:
        """Return the 2 x 2 blocks on the diagonal of the inverse, from the last group back."""
        full = np.empty_like(self._inverses)
        for n in range(self._groups - 1, -1, -1):
            full[n] = self._inverses[n]
            if n + 1 < self._groups:
                gain = self._inverses[n] @ self._beside[n]
                full[n] += gain @ full[n + 1] @ gain.T
        blocks = full.reshape(self._groups, self._lag, 2, self._lag, 2)
        each = np.arange(self._lag)
        return np.asarray(blocks[:, each, :, each, :].swapaxes(0, 1).reshape(-1, 2, 2)[: self._count])
