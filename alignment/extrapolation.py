r"""Differences extrapolated to step zero: the slope, how far it can be trusted, and the order of its error.

The error of a difference is a series in powers of the step. Richardson's extrapolation removes one power after the
other, and the entries of the table, held against one another, tell the error that is left: the *floor*, below which
nothing can be said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .differences import MEASURABLE, Array, Differences

EXTRAPOLATIONS = 6  # columns of the Richardson table; further ones only amplify rounding
CONFLICT = 2.0  # two estimates further apart than so many of their errors contradict each other


@dataclass(frozen=True)
class Slope:
    """A slope by extrapolated differences.

    Attributes
    ----------
    value, error : float
        The slope, and an honest estimate of its error.
    row : int
        Index of the largest step that it rests on.
    row_errors : ndarray of shape (m,)
        The least error among the entries that start at each step.
    """

    value: float
    error: float
    row: int
    row_errors: Array


def extrapolate(differences: Differences, steps: Array) -> Slope | None:
    """Extrapolate differences to step zero and choose the entry of the table with the least error.

    The error of an entry is its distance from both parents (Ridders) plus the rounding it inherits. The analytic
    slopes beside the point go through the same table, not to be believed, but because a function that they do
    not show as smooth over a step is not resolved by that step. A coarse row must also agree with all finer rows
    within the errors of both: a step that jumps over a kink or a whole oscillation may look converged, the
    finer rows know better.

    Returns
    -------
    Slope or None
        None if the function has no finite values to work with.

    Examples
    --------
    >>> steps = 0.5 ** np.arange(12)
    >>> central = (np.exp(steps) - np.exp(-steps)) / (2 * steps)
    >>> slope = extrapolate(Differences(central, np.cosh(steps), 1e-16 / steps, power=2), steps)
    >>> bool(abs(slope.value - 1) <= slope.error < 1e-13)
    True
    """
    rows = np.arange(len(steps))
    table, distance, rounding = _neville(differences.values, differences.rounding, steps, differences.power)
    # fmax: where the analytic slopes are not known, the differences decide alone
    errors = np.fmax(distance, _unresolved(differences.slopes, steps, differences.power)) + rounding
    errors[~(np.isfinite(errors) & np.isfinite(table))] = math.inf

    column = np.argmin(errors, axis=1)
    error, value = errors[rows, column], table[rows, column]
    # The differences themselves are held against the next row alone, before rounding blurs them.
    error[:-1] = np.fmax(error[:-1], np.abs(value[:-1] - value[1:]))
    usable = np.isfinite(error)
    if not usable.any():
        return None
    agrees = np.abs(value[:, None] - value) <= CONFLICT * (error[:, None] + error)
    coarser_or_unusable = np.tri(len(steps), dtype=bool) | ~usable
    trusted = usable & (agrees | coarser_or_unusable).all(axis=1)
    best = int(np.argmin(np.where(trusted, error, math.inf)))
    return Slope(float(value[best]), float(error[best]), best, error)


def _neville(first: Array, first_rounding: Array, steps: Array, power: int) -> tuple[Array, Array, Array]:
    r"""Return the extrapolation table, the distances of its entries from their parents, and the rounding.

    With an error in powers of ``h**power``, the steps ``h_k > ... > h_(k+m)`` give the entries

        T[k, m] = T[k+1, m-1] + (T[k+1, m-1] - T[k, m-1]) / ((h_k / h_(k+m))**power - 1)

    from the first column T[k, 0]. That one has no parents; its distance is that from its first child.
    """
    rows = len(steps)
    table = np.full((rows, EXTRAPOLATIONS + 1), math.nan)
    rounding, distance = table.copy(), table.copy()
    table[:, 0], rounding[:, 0] = first, first_rounding
    for m in range(1, min(EXTRAPOLATIONS, rows - 1) + 1):
        here, below = slice(0, rows - m), slice(1, rows - m + 1)
        ratio = (steps[:-m] / steps[m:]) ** power
        coarse, fine = table[here, m - 1], table[below, m - 1]
        table[here, m] = entry = fine + (fine - coarse) / (ratio - 1.0)
        distance[here, m] = np.maximum(np.abs(entry - coarse), np.abs(entry - fine))
        rounding[here, m] = (ratio * rounding[below, m - 1] + rounding[here, m - 1]) / (ratio - 1.0)
    distance[:, 0] = np.abs(table[:, 0] - table[:, 1])
    return table, distance, rounding


def _unresolved(slopes: Array, steps: Array, power: int) -> Array:
    """Return, for each entry of the table, the error that it would have for the analytic slopes.

    Rows may agree by chance. The analytic slopes carry no rounding that grows with finer steps, so that each entry of
    theirs can be held against the best of the next eight rows.
    """
    table, errors, _ = _neville(slopes, np.zeros_like(slopes), steps, power)
    known = np.where(np.isnan(errors), math.inf, errors)
    best = table[np.arange(len(steps)), np.argmin(known, axis=1)]
    for finer in range(1, min(9, len(steps))):
        errors[:-finer] = np.fmax(errors[:-finer], np.abs(table[:-finer] - best[finer:, None]))
    return errors


def measured_order(steps: Array, errors: Array, rounding: Array, first: int) -> tuple[float, int]:
    """Return the order of the error and the number of steps that it rests on.

    Only steps at which the error stands clear of the rounding tell about truncation, and of these the smallest
    are nearest to the limit. No such step at all: the difference is exact, and the order infinite.

    Examples
    --------
    >>> steps = 0.1 ** np.arange(8)
    >>> order, support = measured_order(steps, 3 * steps**2, np.full(8, 1e-12), first=0)
    >>> round(order, 9), support
    (2.0, 5)
    >>> measured_order(steps, np.zeros(8), np.full(8, 1e-12), first=0)
    (inf, 0)
    """
    clear = np.isfinite(errors) & (errors > MEASURABLE * rounding) & (np.arange(len(steps)) >= first)
    if not clear.any():
        return math.inf, 0
    last = int(np.flatnonzero(clear)[-1])
    start = last
    while start > 0 and clear[start - 1] and last - start < 4:
        start -= 1
    used, support = slice(start, last + 1), last - start + 1
    if support < 3:
        return math.nan, support
    return float(np.polyfit(np.log(steps[used]), np.log(errors[used]), 1)[0]), support
