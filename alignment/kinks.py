"""Kinks: points where the slope of a function jumps, looked for along a line, and reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .differences import MEASURABLE, Array, Function


@dataclass(frozen=True)
class Kink:
    """A point where the slope jumps, met on the way along one line.

    Attributes
    ----------
    line : str
        Name of the argument or direction along which it was met.
    distance : float
        Signed distance from the checked point, in units of the argument; 0 means at the point itself.
    left, right : float
        The slopes on its two sides.
    side : str
        For a kink at the point, what the analytic gradient equals: ``"right"``, ``"left"``, ``"central"``
        (their mean) or ``"neither"``; ``"away"`` for a kink elsewhere, whose steps were left out.
    """

    line: str
    distance: float
    left: float
    right: float
    side: str

    def __str__(self) -> str:
        digits = 4 if self.side == "away" else 10  # away from the point the slopes are rough
        slopes = f"left slope {self.left:.{digits}g}, right slope {self.right:.{digits}g}"
        if self.side == "away":
            return f"{self.line}: kink at distance {self.distance:.4g} ({slopes}); steps across it were left out"
        taken = {
            "right": "the analytic gradient is the right slope",
            "left": "the analytic gradient is the left slope",
            "central": "the analytic gradient is the mean of the two",
            "neither": "the analytic gradient is neither of them, nor their mean",
        }[self.side]
        return f"{self.line}: kink at the point ({slopes}); {taken}"


class Jump(NamedTuple):
    """A jump of the slope: where along the line, and the slopes on its two sides."""

    distance: float
    left: float
    right: float


def find_kink(function: Function, direction: Array, near: float, far: float, noise: float) -> Jump | None:
    """Look for a jump of the slope between two distances by halving the interval where the line bends most.

    Whenever the interval halves, the bend of a smooth line halves too; that of a kink stays.
    """
    places = np.linspace(near, far, 5)
    values = function.along(direction, places)[1]
    bends: list[float] = []
    for _ in range(20):
        bend = np.abs(np.diff(values, 2))
        if not np.isfinite(bend).all() or bend.max() < MEASURABLE * noise:
            break
        bends.append(float(bend.max() / abs(places[1] - places[0])))
        if len(bends) > 5 and bends[-1] < 0.35 * bends[-4]:
            return None
        middle = int(np.argmax(bend))
        kept = values[middle : middle + 3]
        places = np.linspace(places[middle], places[middle + 2], 5)
        between = function.along(direction, places[1::2])[1]
        values = np.array([kept[0], between[0], kept[1], between[1], kept[2]])
    if len(bends) < 6 or bends[-1] < 0.35 * bends[-4]:
        return None
    centre, chord = float(places[2]), abs(far - near) / 64.0
    offsets = np.array([-chord, -chord / 2, 0.0, chord / 2, chord])
    v = function.along(direction, centre + offsets)[1]
    # two chords on each side, extrapolated to chord zero
    left = 2.0 * (v[2] - v[1]) / (chord / 2) - (v[2] - v[0]) / chord
    right = 2.0 * (v[3] - v[2]) / (chord / 2) - (v[4] - v[2]) / chord
    return Jump(centre, float(left), float(right))
