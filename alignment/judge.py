"""The judge of a line: says whether the analytic slope is the numeric one, as far as numbers can tell, and why not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .differences import EPSILON, Array, Function, Side, Sweep, largest
from .extrapolation import Slope, extrapolate, measured_order
from .kinks import Kink, find_kink
from .linecheck import LineCheck

REACH = 10.0  # an error beyond so many floors is an error of the formula, not of the difference
PLATEAU = 0.5  # an error that falls more slowly than this power of the step is not falling
SIDES: tuple[Side, ...] = ("central", "right", "left")


@dataclass(frozen=True)
class Line:
    """A line to be judged: its measurements, and the analytic slope along it with its own rounding."""

    name: str
    direction: Array
    sweep: Sweep
    analytic: float
    rounding: float


@dataclass(frozen=True)
class Judge:
    """What the verdict on every line has in common."""

    function: Function
    tolerance: float
    coarse: bool  # the value shows fewer digits than float64
    gradient_unit: float

    def lines(
        self,
        names: Sequence[str],
        lines: Sequence[tuple[Array, float]],
        sweeps: Sequence[Sweep],
        one_sided: bool = False,
    ) -> tuple[tuple[LineCheck, ...], tuple[Kink, ...]]:
        """Judge several lines, each a direction and its length."""
        prepared = [self._prepare(name, line[0], one) for name, line, one in zip(names, lines, sweeps, strict=True)]
        judged = [self._judge(line, one_sided) for line in prepared]
        return tuple(check for check, _ in judged), tuple(kink for _, kinks in judged for kink in kinks)

    def _prepare(self, name: str, direction: Array, measured: Sweep) -> Line:
        taking_part = direction != 0.0  # zero times infinity would be NaN
        gradient, shares = self.function.gradient[taking_part], direction[taking_part]
        rounding = max(4.0 * EPSILON, self.gradient_unit) * float(np.abs(gradient) @ np.abs(shares))
        return Line(name, direction, measured, float(gradient @ shares), rounding + measured.slope_noise)

    def _judge(self, line: Line, one_sided: bool) -> tuple[LineCheck, tuple[Kink, ...]]:
        """Compare the analytic slope with the numeric one, and say what stands in the way."""
        if not math.isfinite(self.function.value):
            return undefined(line, f"the value at the point is {self.function.value}; check where it is finite"), ()
        if not math.isfinite(line.analytic):
            return undefined(line, "the analytic gradient is not finite at the point; nothing can be compared"), ()
        slopes = {side: extrapolate(line.sweep.sides[side], line.sweep.steps) for side in SIDES}
        right, left = slopes["right"], slopes["left"]
        if not one_sided and right and left and self._is_kink(line, slopes["central"], right, left):
            return self._at_kink(line, right, left)
        preferred: tuple[Side, ...] = ("right",) if one_sided else SIDES
        for side in preferred:
            if (slope := slopes[side]) is not None:
                kinks = self._kinks_beside(line, slope) if side == "central" else ()
                return self._compare(line, slope, side), kinks
        return undefined(line, "the function has no finite values around the point to compare with"), ()

    def _is_kink(self, line: Line, central: Slope | None, right: Slope, left: Slope) -> bool:
        """Tell whether the slope jumps at the point, and not merely nearby."""
        jump = abs(right.value - left.value)
        if jump <= REACH * (right.error + left.error):
            return False
        if central is None or line.sweep.bends_by(jump):
            return True
        return self._compare(line, central, "central").verdict != "pass"

    def _at_kink(self, line: Line, right: Slope, left: Slope) -> tuple[LineCheck, tuple[Kink, ...]]:
        """Find the side that the analytic slope took where the two one-sided slopes differ."""
        mean = Slope(
            value=0.5 * (right.value + left.value),
            error=0.5 * (right.error + left.error),
            row=max(right.row, left.row),
            row_errors=right.row_errors,
        )
        checks = [self._compare(line, slope, side) for side, slope in zip(SIDES, (mean, right, left), strict=True)]
        nearest = min(checks, key=lambda check: check.abs_error / max(check.floor, 1e-300))
        if nearest.verdict == "FAIL":
            low, high = sorted((left.value, right.value))
            where = "between" if low < line.analytic < high else "outside"
            nearest = replace(
                nearest,
                reason=f"the slope jumps here from {left.value:.10g} to {right.value:.10g}, and the analytic "
                f"{line.analytic:.10g} lies {where} the two, equal to neither nor to their mean",
            )
        side = nearest.stencil if nearest.verdict == "pass" else "neither"
        return nearest, (Kink(line.name, 0.0, left.value, right.value, side),)

    def _compare(self, line: Line, slope: Slope, side: Side) -> LineCheck:
        """Apply the rule: within reach of the floor, no plateau above it, and enough digits to tell."""
        floor = slope.error + line.rounding
        error = abs(line.analytic - slope.value)
        size = max(abs(line.analytic), abs(slope.value))
        errors = line.sweep.errors(side, line.analytic)
        rounding = line.sweep.sides[side].rounding + line.rounding
        order, support = measured_order(line.sweep.steps, errors, rounding, slope.row)
        verdict, reason = "pass", ""
        if error > REACH * floor:
            verdict = "FAIL"
            times = error / max(floor, 1e-300)
            reason = f"the error levels off at {error:.2e}, {times:.2g} times the floor {floor:.1e}"
        elif error > 0.5 * REACH * floor and size > REACH * floor and support >= 4 and order < PLATEAU:
            verdict = "FAIL"
            reason = f"the error levels off at {error:.2e} (order {order:.2f}) before rounding takes over"
        elif REACH * floor > self.tolerance * self._yardstick(line, slope, size, floor):
            verdict = "undecided"
            reason = (
                f"the numeric slope is known to {floor:.1e} only, too coarse to verify {size:.3g} to the tolerance "
                f"{self.tolerance:g}"
            )
        return LineCheck(
            name=line.name, direction=line.direction, analytic=line.analytic, numeric=slope.value, abs_error=error,
            rel_error=error / size if size > 0.0 else 0.0, floor=floor, best_step=float(line.sweep.steps[slope.row]),
            order=order, stencil=side, steps=line.sweep.steps, errors=errors, verdict=verdict, reason=reason,
        )  # fmt: skip

    def _yardstick(self, line: Line, slope: Slope, size: float, floor: float) -> float:
        """Return the slope that the tolerance refers to.

        A slope far below the others drowns in the rounding of the value. In full float64 nobody can ask for more, so
        that the largest component, the value itself and the chord over the best step count too. With fewer
        digits than that, a slope that shows at all has to be verified on its own.
        """
        if self.coarse and size > REACH * floor:
            return size
        average = abs(self.function.value) / self.function.scale(line.direction)
        return max(size, largest(self.function.gradient), average, line.sweep.chord(slope.row))

    def _kinks_beside(self, line: Line, slope: Slope) -> tuple[Kink, ...]:
        """Report the kinks near the best step, on either side, if larger steps do worse."""
        row, steps = slope.row, line.sweep.steps
        if row == 0 or not slope.row_errors[row - 1] > 2.0 * slope.error:
            return ()
        # Extrapolation dilutes what the largest of its steps met: the kink may lie somewhat closer or farther.
        near, far = 0.4 * steps[row], 1.2 * steps[max(row - 2, 0)]
        found = [find_kink(self.function, line.direction, s * near, s * far, line.sweep.noise) for s in (1.0, -1.0)]
        return tuple(Kink(line.name, *jump, "away") for jump in found if jump is not None)


def undefined(line: Line, reason: str) -> LineCheck:
    """Fail a line where there is nothing to compare, and say what is missing."""
    return LineCheck(
        name=line.name, direction=line.direction, analytic=line.analytic, numeric=math.nan, abs_error=math.inf,
        rel_error=math.inf, floor=math.inf, best_step=math.nan, order=math.nan, stencil="none",
        steps=line.sweep.steps, errors=np.full(len(line.sweep.steps), math.nan), verdict="FAIL", reason=reason,
    )  # fmt: skip
