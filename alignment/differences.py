r"""The slope of a function along a line, from its values alone, and how far it can be trusted.

A numerical derivative is easy; knowing its error is the work. It is done in three moves:

1. `sweep`, here, takes differences on both sides over ten decades of steps, and measures the scatter of the value;
2. `extrapolation.extrapolate` removes the powers of the step one after the other (Richardson), and picks the best
   number by its own estimate of its error: the *floor*, below which nothing can be said;
3. `extrapolation.measured_order` and `kinks.find_kink` tell why the differences behave as they do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import InputError

Array = NDArray[np.float64]
Side = Literal["central", "right", "left"]

EPSILON = float(np.finfo(np.float64).eps)
MEASURABLE = 30.0  # an error counts as truncation, not rounding, when it exceeds the rounding so many times

# Steps from 0.7 of the argument's scale down to 1e-10 of it. Their ratio is irrational: with halving steps, a wave
# that fits one step a whole number of times often fits the next ones too, and looks constant to all of them.
RELATIVE_STEPS: Array = np.array([0.7 * 5.0 ** (-0.5 * k) for k in range(29)])


# the caller's function


class Function:
    """The caller's function: its answers are checked at the point, and forgiven elsewhere.

    Away from the point a step may leave the domain (the logarithm of a negative number, a shift beyond the image): a
    ValueError or ArithmeticError there is a value that is not available, and the step is left out. Any other
    exception is a defect of the function and passes through.
    """

    def __init__(self, function: Callable[..., Any], at: Array) -> None:
        self.function = function
        self.at = at
        self.reaches = np.maximum(1.0, np.abs(at))  # the scale of each argument
        self.refusal = ""  # the first error that left a step out
        try:
            answer = function(*at.tolist())
        except Exception as error:
            error.add_note(f"raised by the function under check at the point {tuple(at.tolist())}")
            raise
        try:
            value, gradient = answer
        except (TypeError, ValueError):
            raise InputError(
                f"the function must return a pair (value, gradient), but returned {answer!r:.200}"
            ) from None
        self.dtypes = _real_dtype(value, "value"), _real_dtype(gradient, "gradient")
        self.value = _one_number(value)
        self.gradient = _one_per_argument(gradient, at.size)

    def __call__(self, point: Array) -> tuple[float, Array]:
        """Return value and gradient at a point; NaN where the function has none."""
        try:
            value, gradient = self.function(*point.tolist())
            return _one_number(value), _one_per_argument(gradient, self.at.size)
        except (ValueError, ArithmeticError) as error:
            self.refusal = self.refusal or f"{type(error).__name__}: {error}"
            return math.nan, np.full(self.at.size, math.nan)

    def along(self, direction: Array, distances: Array) -> tuple[Array, Array, Array]:
        """Return the distances really travelled after rounding, the values and the analytic slopes there."""
        points = self.at + distances[:, None] * direction
        travelled = (points - self.at) @ direction / (direction @ direction)
        answers = [self(point) for point in points]
        slopes = np.array([gradient for _, gradient in answers]) @ direction
        return travelled, np.array([value for value, _ in answers]), slopes

    def scale(self, direction: Array) -> float:
        """Return the largest scale among the arguments that change along a direction."""
        return float(np.max(self.reaches * (direction != 0.0)))


def _real_dtype(answer: Any, what: str) -> np.dtype[Any]:
    """Return the dtype of an answer, which has to be one of real numbers."""
    dtype = np.asarray(answer).dtype
    if dtype.kind not in "fiub":
        raise InputError(f"the {what} must consist of real numbers, but has dtype {dtype}; return float64")
    return dtype


def _one_number(value: Any) -> float:
    """Return a value as a float."""
    if isinstance(value, float):
        return float(value)
    array = np.asarray(value, dtype=np.float64)
    if array.size != 1:
        raise InputError(f"the value must be one number, but has shape {array.shape}; return a scalar loss")
    return float(array.reshape(()))


def _one_per_argument(gradient: Any, size: int) -> Array:
    """Return a gradient as floats of shape (size,)."""
    array = np.array(gradient, dtype=np.float64)  # a copy: many functions write every gradient into the same buffer
    if array.shape == () and size == 1:
        array = array.reshape(1)
    if array.shape != (size,):
        raise InputError(
            f"the gradient has shape {array.shape}, but the function was called with {size} argument(s); "
            f"return one number per argument, shape ({size},)"
        )
    return array


# how far a value can be trusted


def largest(values: Array) -> float:
    """Return the largest finite magnitude, 0 if there is none."""
    return float(np.max(np.abs(values[np.isfinite(values)]), initial=0.0))


def scatter(values: Array) -> float:
    r"""Estimate the rounding noise of equally spaced values from their higher differences.

    The k-th difference of a smooth function vanishes as the k-th power of the spacing, that of independent noise
    with deviation sigma has variance sigma^2 (2k)! / (k!)^2 (Hamming; More and Wild).

    Examples
    --------
    >>> noise = 1e-6 * np.random.default_rng(0).normal(size=2000)
    >>> x = np.arange(2000) * 1e-3
    >>> round(scatter(np.sin(x) + noise), 7)
    1e-06
    """
    size = float(np.max(np.abs(values)))
    if not (np.isfinite(values).all() and size > 0.0):
        return 0.0
    differences = values / size  # whose squares neither overflow nor vanish
    estimates = []
    for k in range(1, 7):
        differences = np.diff(differences)
        if k >= 4:
            estimates.append(math.sqrt(float(np.mean(differences**2)) / math.comb(2 * k, k)))
    return size * max(estimates)


def coarse_unit(values: Array) -> tuple[float, str]:
    """Recognise numbers that carry fewer digits than float64: their relative rounding, and what it looks like.

    Examples
    --------
    >>> coarse_unit(np.round(np.linspace(0.1, 1, 20), 4))
    (0.0001, '4 decimal places')
    >>> coarse_unit(np.linspace(0.1, 1, 20))
    (0.0, '')
    """
    finite = values[np.isfinite(values)]
    if np.unique(finite).size < 8:
        return 0.0, ""
    for dtype in (np.float16, np.float32):
        if (finite.astype(dtype) == finite).all():
            return float(np.finfo(dtype).eps), np.dtype(dtype).name
    for places in range(1, 11):
        unit = 10.0**-places / largest(finite)
        if unit > 1e3 * EPSILON and (np.round(finite, places) == finite).all():
            return unit, f"{places} decimal places"
    return 0.0, ""


# the sweep


@dataclass(frozen=True)
class Differences:
    """Differences of one kind over all steps, with the analytic slopes at the same places."""

    values: Array
    slopes: Array
    rounding: Array  # of the values
    power: int  # the error goes with powers of step**power


@dataclass(frozen=True)
class Sweep:
    """Everything that was measured along one line, before any judgement."""

    steps: Array  # largest first
    sides: dict[Side, Differences]
    values: Array  # every value and every analytic slope that was seen
    slopes: Array
    noise: float  # of the value
    slope_noise: float  # of the analytic slope
    note: str

    def errors(self, side: Side, analytic: float) -> Array:
        """Return how far the differences are from the analytic slope, without any extrapolation."""
        return np.abs(self.sides[side].values - analytic)

    def chord(self, row: int) -> float:
        """Return the steeper of the two one-sided differences at one of the steps."""
        chords = [self.sides["right"].values[row], self.sides["left"].values[row], 0.0]
        return float(np.nanmax(np.abs(chords)))

    def bends_by(self, jump: float) -> bool:
        """Tell whether the raw one-sided slopes stay apart by a jump at the smallest steps that can show it."""
        right, left = self.sides["right"], self.sides["left"]
        apart = np.abs(right.values - left.values)[right.rounding + left.rounding < 0.25 * jump]
        return bool(apart.size > 0 and 0.5 * jump < apart[-1] < 2.0 * jump)


def sweep(function: Function, direction: Array, steps: Array, unit: float = 0.0, drift: float = 0.0) -> Sweep:
    """Take differences at every step on both sides, and measure the scatter of value and slope close by.

    Parameters
    ----------
    function : Function
    direction : ndarray of shape (n,)
    steps : ndarray of shape (m,)
        Largest first.
    unit : float
        Relative rounding of the value where it is known to be coarser than float64.
    drift : float
        Noise that the rounding of the point itself adds to the value.
    """
    digit = max(EPSILON, unit)
    # Not a power of two: x + k 2^-28 is exact, and arithmetic on it would look more exact than it is.
    tiny = function.scale(direction) * math.pi * 1e-9 * np.arange(1.0, 9.0)
    near = [function.along(direction, sign * tiny) for sign in (1.0, -1.0)]
    ahead, above, slopes_above = function.along(direction, steps)
    behind, below, slopes_below = function.along(direction, -steps)
    behind = -behind  # distances are positive on both sides
    noise = max(digit * abs(function.value), *(3.0 * scatter(values) for _, values, _ in near)) + drift
    flat, note = _flat_noise(function, above, below, steps, function.scale(direction), noise)
    noise = max(noise, flat)

    # A difference inherits the rounding of its two values, and what an argument off by its last digit would change.
    noise_above, noise_below = (np.maximum(noise, digit * np.abs(values)) for values in (above, below))
    argument = EPSILON * (np.abs(function.at) @ np.abs(direction) + steps)

    def differences(rise: Array, run: Array, noise: Array, slopes: Array, power: int) -> Differences:
        values = rise / run
        return Differences(values, slopes, noise / run + argument * np.abs(values) / steps, power)

    middle = 0.5 * (slopes_above + slopes_below)
    return Sweep(
        steps=steps,
        sides={
            "central": differences(above - below, ahead + behind, noise_above + noise_below, middle, 2),
            "right": differences(above - function.value, ahead, noise_above + noise, slopes_above, 1),
            "left": differences(function.value - below, behind, noise_below + noise, slopes_below, 1),
        },
        values=np.concatenate([above, below, near[0][1], near[1][1]]),
        slopes=np.concatenate([slopes_above, slopes_below, near[0][2], near[1][2]]),
        noise=noise,
        slope_noise=min(max(3.0 * scatter(slopes) for _, _, slopes in near), _wobble(middle[len(steps) // 2 :])),
        note=note,
    )


def _wobble(slopes: Array) -> float:
    """Return a bound on how much the analytic slope changes, as a rule, from one small step to the next.

    Noise shows everywhere, a gradient that is wrong in a small neighbourhood jumps once: that is no excuse for it.
    """
    changes = np.abs(np.diff(slopes))
    changes = changes[np.isfinite(changes)]
    return 10.0 * float(np.median(changes)) if changes.size else math.inf


def _flat_noise(
    function: Function, above: Array, below: Array, steps: Array, scale: float, noise: float
) -> tuple[float, str]:
    """Recognise arguments that the function rounds itself, to float32 as a rule: small steps change nothing."""
    moved = np.flatnonzero((above != function.value) | (below != function.value))
    if moved.size == 0 or moved[-1] + 3 >= len(steps) or moved[-1] < 4:
        return 0.0, ""
    flat_step, coarse = float(steps[moved[-1]]), moved[-1] - 4
    change = float(abs(above[coarse] - below[coarse]) / steps[coarse]) * flat_step
    # A function may well be flat around a point; only flatness at the scale of float32 speaks of rounding.
    if flat_step > 2e-6 * scale or not change > 20.0 * noise:
        return 0.0, ""
    return change, (
        f"the value does not change for steps below {flat_step:.1e}: the function rounds its arguments, as float32 "
        f"does; compute in float64 to see more digits"
    )


# what the sweeps tell of the digits


class Rounding(NamedTuple):
    """The relative rounding of value and gradient where it is coarser than float64, otherwise 0, with notes."""

    value: float
    gradient: float
    notes: list[str]


def missing_digits(function: Function, sweeps: Sequence[Sweep]) -> Rounding:
    """Find out whether value and gradient carry all the digits of float64."""
    units, notes = [], []
    measured = np.concatenate([one.values for one in sweeps]), np.concatenate([one.slopes for one in sweeps])
    for what, dtype, numbers in zip(("value", "gradient"), function.dtypes, measured, strict=True):
        unit, name = coarse_unit(numbers)
        if dtype.kind == "f" and dtype.itemsize < 8:
            unit, name = float(np.finfo(dtype).eps), dtype.name
        units.append(unit)
        if unit > 0.0:
            notes.append(
                f"the {what} carries the digits of {name} only (rounded to {unit:.1e} of its size), and the floor "
                f"rises accordingly; return float64 to see more"
            )
    return Rounding(units[0], units[1], notes)


def is_noisy(sweeps: Sequence[Sweep]) -> bool:
    """Tell whether the value scatters by more than float64 explains."""
    rounding = EPSILON * max(largest(one.values) for one in sweeps)
    return any(one.note for one in sweeps) or max(one.noise for one in sweeps) > 1e3 * rounding
