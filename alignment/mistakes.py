"""The mistake that turns a right gradient into a wrong one, called by its name.

Signs, factors, exchanged coordinates and forgotten terms leave a pattern: each function below knows one, and returns
the words for it, or nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

__all__ = ["Suspect", "disagreement", "mistake"]


class Suspect:
    """A wrong gradient beside the right one.

    Parameters
    ----------
    analytic, numeric : ndarray of shape (n,)
        The gradient handed in, and the right one.
    reach : ndarray of shape (n,)
        How closely two slopes have to agree to count as the same.
    names : sequence of str
        Of the arguments.
    scales : mapping of str to float, optional
        Numbers that the gradient might be off by, with their names.

    Attributes
    ----------
    visible : list of int
        Arguments whose slope is clear of the rounding, so that a factor can be told.
    wrong : list of int
        Those of them that disagree.
    factors : dict of int to float
        Analytic over numeric slope of the visible ones.
    """

    def __init__(
        self,
        analytic: Array,
        numeric: Array,
        reach: Array,
        names: Sequence[str],
        scales: Mapping[str, float] | None = None,
    ) -> None:
        self.analytic, self.numeric, self.reach = analytic, numeric, reach
        self.names, self.scales = tuple(names), dict(scales or {})
        size = np.maximum(np.abs(analytic), np.abs(numeric))
        self.visible: list[int] = np.flatnonzero(size > 10.0 * reach).tolist()
        self.wrong = [i for i in self.visible if not self.same(numeric)[i]]
        with np.errstate(divide="ignore"):
            self.factors = {i: float(analytic[i] / numeric[i]) for i in self.visible}

    def same(self, numeric: Array, factor: float = 1.0) -> NDArray[np.bool_]:
        """Tell for each argument whether the analytic slope is `factor` times a numeric one."""
        agree: NDArray[np.bool_] = np.abs(self.analytic - factor * numeric) <= self.reach * max(1.0, abs(factor))
        return agree

    def called(self, indices: Sequence[int]) -> str:
        """Return the names of arguments."""
        return " and ".join(self.names[i] for i in indices)


def mistake(suspect: Suspect) -> str:
    """Name the common mistake that explains all numbers, the simplest first; an empty string if none does.

    Examples
    --------
    >>> right, reach = np.array([0.3, -2.0]), np.full(2, 1e-12)
    >>> mistake(Suspect(-right, right, reach, "xy"))
    'a common factor of -1: the wrong sign'
    >>> mistake(Suspect(right * [1, -1], right, reach, "xy"))
    'the wrong sign in y'
    >>> mistake(Suspect(340 * right, right, reach, "xy", {"N": 340}))
    'a common factor of 340: N, as when 1/N is missing (a sum instead of a mean, or other units)'
    """
    if not suspect.wrong:
        return ""
    readings = (_common_factor, _exchanged, _forgotten, _signs, _axis_factors)
    return next((text for reading in readings if (text := reading(suspect))), "")


def disagreement(suspect: Suspect) -> str:
    """Say which arguments alone disagree, where others agree and no mistake has a name."""
    if not 0 < len(suspect.wrong) < len(suspect.visible):
        return ""
    listed = ", ".join(f"{suspect.names[i]} by {suspect.factors[i]:.8g}" for i in suspect.wrong)
    return (
        f"only {suspect.called(suspect.wrong)} disagrees (factor: {listed}); look at the terms of that argument alone"
    )


def _common_factor(suspect: Suspect) -> str:
    """Recognise a factor that all components share."""
    factor = float(np.median(list(suspect.factors.values())))
    if not math.isfinite(factor) or factor == 0.0 or not suspect.same(suspect.numeric, factor).all():
        return ""
    known = _familiar(factor, suspect.scales)
    if not known and len(suspect.visible) < 2:
        return ""  # a single component always has some factor
    return f"a common factor of {factor:.8g}{known and ': '}{known}"


def _exchanged(suspect: Suspect) -> str:
    """Recognise the right numbers in the wrong order."""
    n = len(suspect.names)
    in_order, reversed_order = tuple(range(n)), tuple(reversed(range(n)))
    # 720 orders are quickly tried, more are not
    orders = [reversed_order] if n > 6 else [o for o in itertools.permutations(in_order) if o != in_order]
    orders.sort(key=lambda order: sum(i != j for i, j in enumerate(order)))
    for order, sign in itertools.product(orders, (1.0, -1.0)):
        if not suspect.same(suspect.numeric[list(order)], sign).all():
            continue
        moved = [i for i, j in enumerate(order) if i != j]
        if len(moved) == 2:
            text = f"swapped coordinates: {suspect.called(moved)} are exchanged"
        elif order == reversed_order:
            text = "the components come in reversed order"
        else:
            text = f"the components come in the order {[suspect.names[j] for j in order]}"
        negated = ", and the wrong sign" if sign < 0.0 else ""
        return f"{text}{negated}, as when (row, column) is mixed up with (x, y) or an array is transposed"
    return ""


def _forgotten(suspect: Suspect) -> str:
    """Recognise components that were left zero."""
    if any(suspect.analytic[i] != 0.0 for i in suspect.wrong):
        return ""
    return f"zero in {suspect.called(suspect.wrong)} though the value changes: the term was forgotten"


def _signs(suspect: Suspect) -> str:
    """Recognise the wrong sign in some of the components."""
    if not suspect.same(suspect.numeric, -1.0)[suspect.wrong].all():
        return ""
    return f"the wrong sign in {suspect.called(suspect.wrong)}"


def _axis_factors(suspect: Suspect) -> str:
    """Recognise a familiar factor on each component."""
    texts = {i: _familiar(suspect.factors[i], suspect.scales) for i in suspect.wrong}
    if not all(texts.values()):
        return ""
    listed = "; ".join(f"{suspect.names[i]}: {text}" for i, text in texts.items())
    if len(texts) == 1:
        return f"a factor of {suspect.factors[suspect.wrong[0]]:.8g} in {listed}"
    values = ", ".join(f"{factor:.8g}" for factor in suspect.factors.values())
    return f"per-axis factors ({values}), as when mixing pixels and normalised coordinates ({listed})"


def _familiar(factor: float, scales: Mapping[str, float]) -> str:
    """Say what a factor reminds of; an empty string if nothing."""
    size = abs(factor)
    if not math.isfinite(size) or size == 0.0:
        return ""
    sign = "-" if factor < 0.0 else ""
    for name, scale in scales.items():
        inverse = f"1/({name})" if "/" in name else f"1/{name}"
        for times, text in ((1.0, ""), (2.0, "2 "), (0.5, "1/2 ")):
            if _near(size, times * scale):
                return f"{sign}{text}{name}, as when {inverse} is missing (a sum instead of a mean, or other units)"
            if _near(size, times / scale):
                return f"{sign}{text}{inverse}, as when {inverse} is applied twice, or to the gradient alone"
    negated = "the wrong sign" if factor < 0.0 else ""
    if _near(size, 1.0):
        return negated
    if _near(size, 2.0):
        text = "a factor of 2 too many"
    elif _near(size, 0.5):
        text = "a factor of 2 missing, as from the derivative of a square"
    elif size > 2.0 and _near(2.0 * size, round(2.0 * size)):
        text = f"{size:.8g} times too large, as when the 1/N of a mean, or half an image size, is forgotten"
    elif size < 0.5 and _near(2.0 / size, round(2.0 / size)):
        text = f"{1.0 / size:.8g} times too small, as when the 1/N of a mean, or half an image size, enters twice"
    else:
        return ""
    return f"{negated} and {text}" if negated else text


def _near(number: float, target: float) -> bool:
    return abs(number - target) <= 1e-6 * abs(target)
