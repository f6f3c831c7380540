"""The check of one line: the two slopes, what separates them, and the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .differences import Array


@dataclass(frozen=True, eq=False)
class LineCheck:
    """The comparison along one line: an argument or a random direction.

    Attributes
    ----------
    name : str
        Name of the argument, or ``"direction 1"`` and so on.
    direction : ndarray of shape (n,)
        Unit vector of the line.
    analytic, numeric, abs_error, rel_error : float
        The two slopes, ``|analytic - numeric|``, and that divided by the larger of their magnitudes.
    floor : float
        Smallest error that the comparison can resolve: what is left of truncation, plus rounding.
    best_step : float
        Largest step behind the numeric slope; steps above it only added error.
    order : float
        Slope of ``log(errors)`` against ``log(steps)`` before rounding takes over; infinity if no truncation
        error shows at any step (the difference is exact), NaN if too few steps show one.
    stencil : str
        ``"central"``, ``"right"`` or ``"left"``: the difference that the numbers come from.
    steps, errors : ndarray of shape (m,)
        The sweep, and ``|difference - analytic|`` at each step without any extrapolation; NaN where the
        function has no finite value.
    verdict : str
        ``"pass"``, ``"FAIL"`` or ``"undecided"`` (the numbers show too few digits to tell).
    reason : str
        Why, in words; empty for a plain pass.
    """

    name: str
    direction: Array
    analytic: float
    numeric: float
    abs_error: float
    rel_error: float
    floor: float
    best_step: float
    order: float
    stencil: str
    steps: Array
    errors: Array
    verdict: str
    reason: str

    @property
    def digits(self) -> float:
        """Agreeing decimal digits, 16 at most; 0 where nothing can be compared."""
        if not math.isfinite(self.rel_error):
            return 0.0
        return float(np.clip(-math.log10(max(self.rel_error, 1e-16)), 0.0, 16.0))

    @property
    def order_in_words(self) -> str:
        """The order with two decimals, "exact" without truncation error, "-" where it cannot be measured."""
        return "exact" if self.order == math.inf else "-" if math.isnan(self.order) else f"{self.order:.2f}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and lists; what is not finite becomes None, an exact order a word."""
        plain = {key: plain_value(value) for key, value in vars(self).items()}
        plain["order"] = "exact" if self.order == math.inf else plain["order"]
        return plain | {"digits": self.digits}


def plain_value(value: Any) -> Any:
    """Turn arrays and tuples into lists, and numbers that JSON does not know into None."""
    if isinstance(value, np.ndarray | tuple | list):
        return [plain_value(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
