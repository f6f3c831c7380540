r"""Finite differences that explain themselves.

Is this gradient the gradient of that value?

The checker knows nothing of images. It walks from one point along each argument and along a few random
directions, differences the value over a sweep of steps, and finds out by itself how far the numbers can be
trusted: the rounding of the value from the value's own scatter, the best step and its error floor from an
extrapolation table, kinks from the two one-sided slopes. Only then does it judge, and it says why.

>>> from math import exp
>>> def bowl(x, y):
...     return x * x * y + exp(y), (2 * x * y, x * x + exp(y))
>>> check_gradient(bowl, at=(1.5, -0.5)).passed
True
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alignment._checks import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["GradientCheck", "Kink", "LineCheck", "check_gradient"]

Array = NDArray[np.float64]

EPSILON = float(np.finfo(np.float64).eps)
REACH = 10.0  # an error beyond so many floors is an error of the formula, not of the difference
EXTRAPOLATIONS = 6  # columns of the Richardson table; further ones only amplify rounding
CONFLICT = 2.0  # two estimates further apart than so many of their errors contradict each other
PLATEAU = 0.5  # an error that falls more slowly than this power of the step is not falling
MEASURABLE = 30.0  # an error counts as truncation, not rounding, when it exceeds the rounding so many times

# Steps from 0.7 of the argument's scale down to 1e-10 of it. Their ratio is irrational: with halving steps, a wave
# that fits one step a whole number of times often fits the next ones too, and looks constant to all of them.
RELATIVE_STEPS: Array = np.array([0.7 * 5.0 ** (-0.5 * k) for k in range(29)])

# ------------------------------------------------------------------------------------------------------
# What is handed back


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

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and lists; what is not finite becomes None, an exact order a word."""
        plain = {key: _plain(value) for key, value in vars(self).items()}
        plain["order"] = "exact" if self.order == math.inf else plain["order"]
        return plain | {"digits": self.digits}


@dataclass(frozen=True, eq=False, repr=False)
class GradientCheck:
    """What `check_gradient` found; print it, plot it, and ask it `passed`.

    Attributes
    ----------
    passed : bool
        The verdict; the object itself refuses to be used as a truth value.
    message : str
        The verdict in a sentence.
    mistakes : tuple of str
        Common mistakes that explain the numbers, empty if none does.
    notes : tuple of str
        What limits the check: missing digits, steps outside the domain, vanishing gradients.
    kinks : tuple of Kink
        Kinks at the point, and beside it where they limited the steps.
    rule : str
        The rule of the verdict.
    at : tuple of float
        The point.
    value : float
        The value there.
    noise : float
        Scatter of the value near the point, the largest of all lines.
    seed : int
        Seed of the random directions.
    coordinates, directions : tuple of LineCheck
        Every line with all its numbers.
    """

    passed: bool
    message: str
    mistakes: tuple[str, ...]
    notes: tuple[str, ...]
    kinks: tuple[Kink, ...]
    rule: str
    at: tuple[float, ...]
    value: float
    noise: float
    seed: int
    coordinates: tuple[LineCheck, ...]
    directions: tuple[LineCheck, ...]

    @property
    def analytic(self) -> Array:
        """The gradient that was handed in, shape (n,)."""
        return self._column("analytic")

    @property
    def numeric(self) -> Array:
        """The gradient by finite differences, shape (n,)."""
        return self._column("numeric")

    @property
    def abs_error(self) -> Array:
        """``|analytic - numeric|`` per argument, shape (n,)."""
        return self._column("abs_error")

    @property
    def rel_error(self) -> Array:
        """``|analytic - numeric| / max(|analytic|, |numeric|)`` per argument, shape (n,)."""
        return self._column("rel_error")

    @property
    def floor(self) -> Array:
        """Smallest error that can be resolved per argument, shape (n,)."""
        return self._column("floor")

    @property
    def best_step(self) -> Array:
        """Largest step that the numeric gradient uses per argument, shape (n,)."""
        return self._column("best_step")

    @property
    def order(self) -> Array:
        """Order of the error per argument, shape (n,); infinity means exact, NaN not measurable."""
        return self._column("order")

    @property
    def digits(self) -> Array:
        """Agreeing decimal digits per argument, shape (n,)."""
        return self._column("digits")

    @property
    def steps(self) -> Array:
        """The sweep of steps per argument, largest first, shape (n, m)."""
        return np.array([line.steps for line in self.coordinates])

    @property
    def errors(self) -> Array:
        """``|difference - analytic|`` at each step without extrapolation, shape (n, m)."""
        return np.array([line.errors for line in self.coordinates])

    def _column(self, name: str) -> Array:
        return np.array([getattr(line, name) for line in self.coordinates], dtype=np.float64)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a GradientCheck is neither true nor false by itself, so that `assert check_gradient(...)` cannot pass "
            "unread; ask for `.passed`, or call `.raise_if_failed()`"
        )

    def __repr__(self) -> str:
        return f"<GradientCheck at {self.at}: {self.message}>"

    def __str__(self) -> str:
        at = ", ".join(f"{line.name} = {x:.10g}" for line, x in zip(self.coordinates, self.at, strict=True))
        head = f"gradient check at {at}: value {self.value:.10g}, scatter of the value {self.noise:.1e}"
        parts = [head, _table(self.coordinates + self.directions), f"rule: {self.rule}"]
        if self.directions:
            parts.append(f"random directions: seed {self.seed}")
        parts += [f"kink: {kink}" for kink in self.kinks]
        parts += [f"note: {note}" for note in self.notes]
        parts += [f"{line.name}: {line.reason}" for line in self.coordinates + self.directions if line.reason]
        parts += [f"likely mistake: {mistake}" for mistake in self.mistakes]
        return "\n".join([*parts, self.message])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings, lists and dictionaries, ready for JSON.

        Examples
        --------
        >>> check = check_gradient(lambda x: (x * x, 2 * x), at=3.0)
        >>> check.to_dict()["passed"], check.to_dict()["order"]
        (True, ['exact'])
        """
        names = ("analytic", "numeric", "abs_error", "rel_error", "floor", "best_step", "digits")
        plain: dict[str, Any] = {key: _plain(value) for key, value in vars(self).items()}
        plain |= {name: _plain(getattr(self, name)) for name in (*names, "steps", "errors")}
        plain["coordinates"] = [line.to_dict() for line in self.coordinates]
        plain["directions"] = [line.to_dict() for line in self.directions]
        plain["order"] = [line["order"] for line in plain["coordinates"]]
        plain["kinks"] = [{key: _plain(value) for key, value in vars(kink).items()} for kink in self.kinks]
        return plain

    def raise_if_failed(self) -> None:
        """Raise an AssertionError that carries the whole table, unless the check passed."""
        if not self.passed:
            raise AssertionError(str(self))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw error against step on logarithmic axes, with the slopes 1 and 2 beside it.

        A right gradient falls along one of the guides and rises again when rounding takes over (the V curve);
        a wrong one levels off. A difference without truncation error shows the rising branch alone.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on.
        """
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")[1]
        colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
        for line, colour, marker in zip(
            self.coordinates, itertools.cycle(colours), itertools.cycle("osD^vP"), strict=False
        ):
            shown = np.isfinite(line.errors) & (line.errors > 0.0)
            (drawn,) = ax.plot(line.steps[shown], line.errors[shown], color=colour, marker=marker, markersize=4.0)
            drawn.set_label(f"{line.name}, {line.stencil} difference")
            if math.isfinite(line.floor) and line.floor > 0.0:
                ax.axhline(line.floor, color=colour, linestyle=":", linewidth=1.0)
        _draw_guides(ax, self.coordinates)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("step (units of the argument)")
        ax.set_ylabel("|difference - analytic gradient|")
        ax.set_title(f"gradient check: {'passed' if self.passed else 'FAILED'} (dotted: floor)")
        ax.legend(fontsize="small")
        return ax


def _plain(value: Any) -> Any:
    """Turn arrays and tuples into lists, and numbers that JSON does not know into None."""
    if isinstance(value, np.ndarray | tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def _table(lines: Sequence[LineCheck]) -> str:
    """Lay the lines out as a table with aligned columns."""
    sizes = ["abs error", "rel error", "floor", "step"]
    rows = [["along", "analytic", "numeric", *sizes, "order", "difference", "verdict"]]
    for line in lines:
        order = "exact" if line.order == math.inf else "-" if math.isnan(line.order) else f"{line.order:.2f}"
        slopes = [f"{line.analytic:.13g}", f"{line.numeric:.13g}"]
        sizes = [f"{x:.1e}" for x in (line.abs_error, line.rel_error, line.floor, line.best_step)]
        cells = [line.name, *slopes, *sizes, order, line.stencil, line.verdict]
        rows.append(["-" if cell in ("nan", "inf") else cell for cell in cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _draw_guides(ax: Axes, lines: Sequence[LineCheck]) -> None:
    """Draw the slopes 1 and 2 through the largest error, so that an eye can read the order off."""
    steps = np.concatenate([line.steps for line in lines])
    errors = np.concatenate([line.errors for line in lines])
    shown = np.isfinite(errors) & (errors > 0.0)
    if not shown.any():
        return
    # Three decades are enough to compare with; a little higher than the data, so as not to hide them.
    top_step, top_error = steps[shown].max(), errors[shown].max()
    reach = np.array([1e-3, 1.0])
    for order, dashes in ((1, "--"), (2, "-.")):
        ax.plot(top_step * reach, 3.0 * top_error * reach**order, dashes, color="0.5", label=f"slope {order}")


# ------------------------------------------------------------------------------------------------------
# The caller's function


class _Function:
    """The caller's function: its answers checked at the point, forgiven elsewhere.

    Away from the point a step may leave the domain (the logarithm of a negative number, a shift beyond the image): a
    ValueError or ArithmeticError there is a value that is not available, and the step is left out. Any other
    exception is a defect of the function and passes through.
    """

    def __init__(self, function: Callable[..., Any], at: Array) -> None:
        self.function = function
        self.at = at
        self.refusal = ""
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
        self.dtypes = _float_type(value, "value"), _float_type(gradient, "gradient")
        self.value = _number(value)
        self.gradient = _vector(gradient, at.size)

    def __call__(self, point: Array) -> tuple[float, Array]:
        """Return value and gradient at a point; NaN where the function has none."""
        try:
            value, gradient = self.function(*point.tolist())
            return _number(value), _vector(gradient, self.at.size)
        except (ValueError, ArithmeticError) as error:
            self.refusal = self.refusal or f"{type(error).__name__}: {error}"
            return math.nan, np.full(self.at.size, math.nan)

    def along(self, direction: Array, distances: Array) -> tuple[Array, Array, Array]:
        """Return the distances really travelled after rounding, the values and the slopes there."""
        points = self.at + distances[:, None] * direction
        travelled = (points - self.at) @ direction / (direction @ direction)
        answers = [self(point) for point in points]
        slopes = np.array([gradient for _, gradient in answers]) @ direction
        return travelled, np.array([value for value, _ in answers]), slopes


def _float_type(answer: Any, what: str) -> np.dtype[Any]:
    """Return the dtype of an answer; only real numbers will do."""
    dtype = np.asarray(answer).dtype
    if dtype.kind not in "fiub":
        raise InputError(f"the {what} must consist of real numbers, but has dtype {dtype}; return float64")
    return dtype


def _number(value: Any) -> float:
    if isinstance(value, float):
        return float(value)
    array = np.asarray(value, dtype=np.float64)
    if array.size != 1:
        raise InputError(f"the value must be one number, but has shape {array.shape}; return a scalar loss")
    return float(array.reshape(()))


def _vector(gradient: Any, size: int) -> Array:
    # A copy: many functions write every gradient into the same buffer.
    array = np.array(gradient, dtype=np.float64, copy=True)
    if array.shape == () and size == 1:
        array = array.reshape(1)
    if array.shape != (size,):
        raise InputError(
            f"the gradient has shape {array.shape}, but the function was called with {size} argument(s); "
            f"return one number per argument, shape ({size},)"
        )
    return array


# ------------------------------------------------------------------------------------------------------
# How far a value can be trusted


def _scatter(values: Array) -> float:
    r"""Estimate the rounding noise of equally spaced values from their higher differences.

    The k-th difference of a smooth function vanishes as the k-th power of the spacing, that of independent noise
    with deviation sigma has variance sigma^2 (2k)! / (k!)^2 (Hamming; More and Wild).
    """
    largest = float(np.max(np.abs(values)))
    if not (np.isfinite(values).all() and largest > 0.0):
        return 0.0
    estimates = []
    differences = values / largest  # whose squares neither overflow nor vanish
    for k in range(1, 7):
        differences = np.diff(differences)
        if k >= 4:
            estimates.append(math.sqrt(float(np.mean(differences**2)) / math.comb(2 * k, k)))
    return largest * max(estimates)


def _coarse_unit(values: Array) -> tuple[float, str]:
    """Recognise values that carry fewer digits than float64: relative rounding, and what it looks like."""
    finite = values[np.isfinite(values)]
    if np.unique(finite).size < 8:
        return 0.0, ""
    for dtype in (np.float16, np.float32):
        if (finite.astype(dtype) == finite).all():
            return float(np.finfo(dtype).eps), np.dtype(dtype).name
    for places in range(1, 11):
        unit = 10.0**-places / float(np.abs(finite).max())
        if unit > 1e3 * EPSILON and (np.round(finite, places) == finite).all():
            return unit, f"{places} decimal places"
    return 0.0, ""


# ------------------------------------------------------------------------------------------------------
# From differences to a slope


@dataclass(frozen=True)
class _Differences:
    """Differences of one kind over all steps, with the analytic slopes at the same places."""

    values: Array
    slopes: Array
    rounding: Array
    power: int  # the error goes with powers of step**power


@dataclass(frozen=True)
class _Slope:
    """A slope by extrapolated differences: value, honest error, first step in use (an index), row errors."""

    value: float
    error: float
    row: int
    row_errors: Array


def _neville(differences: _Differences, steps: Array) -> tuple[Array, Array, Array]:
    r"""Return the extrapolation table, the distances of its entries from their parents, and the rounding.

    With an error in powers of ``h**power``, the steps ``h_k > ... > h_(k+m)`` give the entries

        T[k, m] = T[k+1, m-1] + (T[k+1, m-1] - T[k, m-1]) / ((h_k / h_(k+m))**power - 1).

    The first axis holds two tables: of the differences, and of the analytic slopes at the same steps.
    """
    rows = len(steps)
    tables = np.full((2, rows, EXTRAPOLATIONS + 1), math.nan)
    rounding, distance = tables[0].copy(), tables.copy()
    tables[0, :, 0], tables[1, :, 0] = differences.values, differences.slopes
    rounding[:, 0] = differences.rounding
    for m in range(1, min(EXTRAPOLATIONS, rows - 1) + 1):
        ratio = (steps[:-m] / steps[m:]) ** differences.power
        here, below = slice(0, rows - m), slice(1, rows - m + 1)
        coarse, fine = tables[:, here, m - 1], tables[:, below, m - 1]
        tables[:, here, m] = entry = fine + (fine - coarse) / (ratio - 1.0)
        distance[:, here, m] = np.maximum(np.abs(entry - coarse), np.abs(entry - fine))
        rounding[here, m] = (ratio * rounding[below, m - 1] + rounding[here, m - 1]) / (ratio - 1.0)
    distance[:, :, 0] = np.abs(tables[:, :, 0] - tables[:, :, 1])
    return tables, distance, rounding


def _extrapolate(differences: _Differences, steps: Array) -> _Slope | None:
    """Extrapolate differences to step zero and choose the entry of the table with the least error.

    The error of an entry is its distance from both parents (Ridders) plus the rounding it inherits. The analytic
    slopes beside the point go through the same table, not to be believed, but because a function that they do
    not show as smooth over a step is not resolved by that step. A coarse row must also agree with all finer rows
    within the errors of both: a step that jumps over a kink or a whole oscillation may look converged, the
    finer rows know better.
    """
    rows = len(steps)
    every = np.arange(rows)
    tables, distance, rounding = _neville(differences, steps)
    errors = np.fmax(distance[0], distance[1])  # fmax: slopes that are NaN do not count
    # Rows may agree by chance. The analytic slopes carry no rounding that grows with finer steps, so that
    # each entry of theirs can be held against the best of the next eight rows.
    distance[1][np.isnan(distance[1])] = math.inf
    resolved = tables[1, every, np.argmin(distance[1], axis=1)]
    for finer in range(1, min(9, rows)):
        errors[:-finer] = np.fmax(errors[:-finer], np.abs(tables[1, :-finer] - resolved[finer:, None]))
    errors += rounding
    errors[~(np.isfinite(errors) & np.isfinite(tables[0]))] = math.inf

    column = np.argmin(errors, axis=1)
    error, value = errors[every, column], tables[0, every, column]
    # The differences themselves are held against the next row alone, before rounding blurs them.
    error[:-1] = np.fmax(error[:-1], np.abs(value[:-1] - value[1:]))
    usable = np.isfinite(error)
    if not usable.any():
        return None
    agrees = np.abs(value[:, None] - value) <= CONFLICT * (error[:, None] + error)
    coarser_or_unusable = np.tri(rows, dtype=bool) | ~usable
    trusted = usable & (agrees | coarser_or_unusable).all(axis=1)
    best = int(np.argmin(np.where(trusted, error, math.inf)))
    return _Slope(float(value[best]), float(error[best]), best, error)


def _measure_order(steps: Array, errors: Array, rounding: Array, first: int) -> tuple[float, int]:
    """Return the order of the error and the number of steps that it rests on.

    Only steps at which the error stands clear of the rounding tell about truncation, and of these the smallest
    are nearest to the limit. No such step at all: the difference is exact.
    """
    clear = np.isfinite(errors) & (errors > MEASURABLE * rounding) & (np.arange(len(steps)) >= first)
    if not clear.any():
        return math.inf, 0
    last = int(np.flatnonzero(clear)[-1])
    start = last
    while start > 0 and clear[start - 1] and last - start < 4:
        start -= 1
    if last - start < 2:
        return math.nan, last - start + 1
    slope = np.polyfit(np.log(steps[start : last + 1]), np.log(errors[start : last + 1]), 1)[0]
    return float(slope), last - start + 1


# ------------------------------------------------------------------------------------------------------
# One line


@dataclass(frozen=True)
class _Samples:
    """Everything that was measured along one line before any judgement."""

    steps: Array
    kinds: Mapping[str, _Differences]  # "central", "right", "left"
    values: Array  # every value and every analytic slope that was seen
    slopes: Array
    noise: float
    slope_noise: float
    note: str


def _sample(function: _Function, direction: Array, steps: Array, unit: float, extra_noise: float = 0.0) -> _Samples:
    """Evaluate the sweep on both sides, and eight points close by for the scatter."""
    scale = float(np.max(np.maximum(1.0, np.abs(function.at)) * (direction != 0.0)))
    # Not a power of two: x + k 2^-28 is exact, and arithmetic on it would look more exact than it is.
    tiny = np.array([scale * math.pi * 1e-9 * k for k in range(1, 9)])
    near = [function.along(direction, sign * tiny) for sign in (1.0, -1.0)]
    ahead, above, slopes_above = function.along(direction, steps)
    behind, below, slopes_below = function.along(direction, -steps)
    behind = -behind  # distances are positive on both sides
    digit = max(EPSILON, unit)
    noise = max(digit * abs(function.value), *(3.0 * _scatter(values) for _, values, _ in near)) + extra_noise
    flat, note = _flat_noise(function.value, above, below, steps, scale, noise)
    noise = max(noise, flat)

    # Rounding of a difference: of its two values, and what an argument off by its last digit would change.
    argument = EPSILON * (np.abs(function.at) @ np.abs(direction) + steps)
    loss_above, loss_below = (np.maximum(noise, digit * np.abs(values)) for values in (above, below))
    right, left = (above - function.value) / ahead, (function.value - below) / behind
    central, length = (above - below) / (ahead + behind), ahead + behind
    kinds = {
        "central": (central, 0.5 * (slopes_above + slopes_below), (loss_above + loss_below) / length, 2),
        "right": (right, slopes_above, (loss_above + noise) / ahead, 1),
        "left": (left, slopes_below, (loss_below + noise) / behind, 1),
    }
    return _Samples(
        steps=steps,
        kinds={
            kind: _Differences(values, slopes, rounding + argument * np.abs(values) / steps, power)
            for kind, (values, slopes, rounding, power) in kinds.items()
        },
        values=np.concatenate([above, below, near[0][1], near[1][1]]),
        slopes=np.concatenate([slopes_above, slopes_below, near[0][2], near[1][2]]),
        noise=noise,
        slope_noise=min(
            max(3.0 * _scatter(slopes) for _, _, slopes in near),
            _wobble(0.5 * (slopes_above + slopes_below)[len(steps) // 2 :]),
        ),
        note=note,
    )


def _wobble(slopes: Array) -> float:
    """Return how much the analytic slope changes from one small step to the next, as a rule.

    Noise shows everywhere, a gradient that is wrong in a small neighbourhood jumps once: that is no excuse for it.
    """
    changes = np.abs(np.diff(slopes))
    changes = changes[np.isfinite(changes)]
    return REACH * float(np.median(changes)) if changes.size else math.inf


def _flat_noise(
    value: float, above: Array, below: Array, steps: Array, scale: float, noise: float
) -> tuple[float, str]:
    """Recognise arguments that the function rounds itself, to float32 as a rule: small steps change nothing."""
    moved = np.flatnonzero((above != value) | (below != value))
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


def _bends(samples: _Samples, jump: float) -> bool:
    """Tell whether the two raw one-sided slopes stay apart by the jump at the smallest steps that can show it."""
    right, left = samples.kinds["right"], samples.kinds["left"]
    apart = np.abs(right.values - left.values)[right.rounding + left.rounding < 0.25 * jump]
    return bool(apart.size > 0 and 0.5 * jump < apart[-1] < 2.0 * jump)


def _find_kink(function: _Function, direction: Array, near: float, far: float, noise: float) -> Kink | None:
    """Look for a jump of the slope between two distances by halving the interval where the line bends most.

    Whenever the interval halves, the bend of a smooth line halves too; that of a kink stays.
    """
    places = np.linspace(near, far, 5)
    values = function.along(direction, places)[1]
    bends: list[float] = []
    for _ in range(20):
        width = abs(places[1] - places[0])
        bend = np.abs(np.diff(values, 2))
        if not np.isfinite(bend).all() or bend.max() < MEASURABLE * noise:
            break
        bends.append(float(bend.max() / width))
        if len(bends) > 5 and bends[-1] < 0.35 * bends[-4]:
            return None
        middle = int(np.argmax(bend))
        places = np.linspace(places[middle], places[middle + 2], 5)
        between = function.along(direction, places[1::2])[1]
        kept = values[middle : middle + 3]
        values = np.array([kept[0], between[0], kept[1], between[1], kept[2]])
    if len(bends) < 6 or bends[-1] < 0.35 * bends[-4]:
        return None
    centre, chord = float(places[2]), abs(far - near) / 64.0
    offsets = np.array([-chord, -chord / 2, 0.0, chord / 2, chord])
    v = function.along(direction, np.asarray(offsets + centre, dtype=np.float64))[1]
    left = 2.0 * (v[2] - v[1]) / (chord / 2) - (v[2] - v[0]) / chord
    right = 2.0 * (v[3] - v[2]) / (chord / 2) - (v[4] - v[2]) / chord
    return Kink("", centre, float(left), float(right), "away")


@dataclass(frozen=True)
class _Judge:
    """What the verdict on every line has in common."""

    function: _Function
    tolerance: float
    coarse: bool  # the value shows fewer digits than float64
    gradient_unit: float

    def line(
        self, name: str, direction: Array, samples: _Samples, one_sided: bool = False
    ) -> tuple[LineCheck, tuple[Kink, ...]]:
        """Compare the analytic slope along one line with the numeric one, and say what stands in the way."""
        taking_part = direction != 0.0  # zero times infinity would be NaN
        gradient, shares = self.function.gradient[taking_part], direction[taking_part]
        analytic = float(gradient @ shares)
        own = max(4.0 * EPSILON, self.gradient_unit) * float(np.abs(gradient) @ np.abs(shares))
        own += samples.slope_noise
        if not (math.isfinite(self.function.value) and math.isfinite(analytic)):
            return self._undefined(name, direction, samples, analytic), ()
        slopes = {kind: _extrapolate(differences, samples.steps) for kind, differences in samples.kinds.items()}
        right, left = slopes["right"], slopes["left"]
        kinks: tuple[Kink, ...] = ()
        stencil = "right" if one_sided else "central"
        if not one_sided and right is not None and left is not None:
            jump = abs(right.value - left.value)
            if jump > REACH * (right.error + left.error):
                central = slopes["central"]
                smooth = central and self._compare(name, direction, samples, analytic, own, central, "central")
                if _bends(samples, jump) or not smooth or smooth.verdict != "pass":
                    return self._at_kink(name, direction, samples, analytic, own, right, left)
        if slopes[stencil] is None and not one_sided:
            stencil = "right" if right is not None else "left"
        chosen = slopes[stencil]
        if chosen is None:
            return self._undefined(name, direction, samples, analytic), ()
        check = self._compare(name, direction, samples, analytic, own, chosen, stencil)
        if stencil == "central":
            kinks = self._beside(name, direction, samples, chosen)
        return check, kinks

    def _at_kink(
        self, name: str, direction: Array, samples: _Samples, analytic: float, own: float, right: _Slope, left: _Slope
    ) -> tuple[LineCheck, tuple[Kink, ...]]:
        """Find the side that the analytic slope took where the two one-sided slopes differ."""
        mean = _Slope(
            0.5 * (right.value + left.value),
            0.5 * (right.error + left.error),
            max(right.row, left.row),
            right.row_errors,
        )
        sides = {"right": right, "left": left, "central": mean}
        checks = {
            side: self._compare(name, direction, samples, analytic, own, slope, side) for side, slope in sides.items()
        }
        side = min(checks, key=lambda key: checks[key].abs_error / max(checks[key].floor, 1e-300))
        check = checks[side]
        kink = Kink(name, 0.0, left.value, right.value, side if check.verdict == "pass" else "neither")
        if check.verdict == "FAIL":
            low, high = sorted((left.value, right.value))
            where = "between" if low < analytic < high else "outside"
            reason = (
                f"the slope jumps here from {left.value:.10g} to {right.value:.10g}, and the analytic {analytic:.10g} "
                f"lies {where} the two, equal to neither nor to their mean"
            )
            check = replace(check, reason=reason)
        return check, (kink,)

    def _compare(
        self,
        name: str,
        direction: Array,
        samples: _Samples,
        analytic: float,
        own: float,
        slope: _Slope,
        stencil: str,
    ) -> LineCheck:
        """Apply the rule: within reach of the floor, no plateau above it, and enough digits to tell."""
        differences = samples.kinds[stencil]
        errors = np.abs(differences.values - analytic)
        floor = slope.error + own
        error = abs(analytic - slope.value)
        size = max(abs(analytic), abs(slope.value))
        chords = [samples.kinds[side].values[slope.row] for side in ("right", "left")]
        chord = float(np.nanmax(np.abs([*chords, 0.0])))
        order, support = _measure_order(samples.steps, errors, differences.rounding + own, slope.row)
        verdict, reason = "pass", ""
        if error > REACH * floor:
            verdict = "FAIL"
            reason = (
                f"the error levels off at {error:.2e}, {error / max(floor, 1e-300):.2g} times the floor {floor:.1e}"
            )
        elif error > 0.5 * REACH * floor and size > REACH * floor and support >= 4 and order < PLATEAU:
            verdict = "FAIL"
            reason = f"the error levels off at {error:.2e} (order {order:.2f}) before rounding takes over"
        elif REACH * floor > self.tolerance * self._yardstick(size, floor, direction, chord):
            verdict = "undecided"
            reason = (
                f"the numeric slope is known to {floor:.1e} only, too coarse to verify {size:.3g} to the tolerance "
                f"{self.tolerance:g}"
            )
        return LineCheck(
            name=name, direction=direction, analytic=analytic, numeric=slope.value, abs_error=error,
            rel_error=error / size if size > 0.0 else 0.0, floor=floor, best_step=float(samples.steps[slope.row]),
            order=order, stencil=stencil, steps=samples.steps, errors=errors, verdict=verdict, reason=reason,
        )  # fmt: skip

    def _yardstick(self, size: float, floor: float, direction: Array, chord: float) -> float:
        """Return the slope that the tolerance refers to.

        A slope far below the others drowns in the rounding of the value. In full float64 nobody can ask for more, so
        that the largest component, the value itself and the chord over the best step count too. With fewer
        digits than that, a slope that shows at all has to be verified on its own.
        """
        if self.coarse and size > REACH * floor:
            return size
        scale = float(np.max(np.maximum(1.0, np.abs(self.function.at)) * (direction != 0.0)))
        others = self.function.gradient[np.isfinite(self.function.gradient)]
        return max(size, float(np.max(np.abs(others), initial=0.0)), abs(self.function.value) / scale, chord)

    def _beside(self, name: str, direction: Array, samples: _Samples, slope: _Slope) -> tuple[Kink, ...]:
        """Report the kinks near the best step, on either side, if larger steps do worse."""
        row = slope.row
        if row == 0 or not slope.row_errors[row - 1] > 2.0 * slope.error:
            return ()
        # Extrapolation dilutes what the largest of its steps met: the kink may lie somewhat closer or farther.
        near, far = 0.4 * samples.steps[row], 1.2 * samples.steps[max(row - 2, 0)]
        found = (_find_kink(self.function, direction, sign * near, sign * far, samples.noise) for sign in (1.0, -1.0))
        return tuple(replace(kink, line=name) for kink in found if kink is not None)

    def _undefined(self, name: str, direction: Array, samples: _Samples, analytic: float) -> LineCheck:
        """Fail a line where there is nothing to compare, and say what is missing."""
        if not math.isfinite(self.function.value):
            reason = f"the value at the point is {self.function.value}; check at a point where it is finite"
        elif not math.isfinite(analytic):
            reason = "the analytic gradient is not finite at the point, so there is nothing to compare"
        else:
            reason = "the function has no finite values around the point, so there is nothing to compare with"
        return LineCheck(
            name=name, direction=direction, analytic=analytic, numeric=math.nan, abs_error=math.inf,
            rel_error=math.inf, floor=math.inf, best_step=math.nan, order=math.nan, stencil="none",
            steps=samples.steps, errors=np.full(len(samples.steps), math.nan), verdict="FAIL", reason=reason,
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------------
# Mistakes by name


@dataclass(frozen=True)
class _Suspect:
    """A wrong gradient, the right one, and how closely two slopes have to agree to count as the same."""

    analytic: Array
    numeric: Array
    reach: Array
    names: tuple[str, ...]
    scales: Mapping[str, float]

    def same(self, numeric: Array, factor: float = 1.0) -> NDArray[np.bool_]:
        """Tell for each argument whether the analytic slope is `factor` times a numeric one."""
        agree: NDArray[np.bool_] = np.abs(self.analytic - factor * numeric) <= self.reach * max(1.0, abs(factor))
        return agree

    def seen(self, indices: Sequence[int]) -> str:
        return " and ".join(self.names[i] for i in indices)


def _name_mistakes(suspect: _Suspect) -> tuple[str, ...]:
    """Name the common mistake that turns the numeric gradient into the analytic one, the simplest first."""
    size = np.maximum(np.abs(suspect.analytic), np.abs(suspect.numeric))
    visible: list[int] = np.flatnonzero(size > REACH * suspect.reach).tolist()
    wrong = [i for i in visible if not suspect.same(suspect.numeric)[i]]
    if not wrong:
        return ()
    factors = suspect.analytic[visible] / suspect.numeric[visible]
    for explain in (_common_factor, _exchanged, _zeros_and_signs, _axis_factors):
        explanation = explain(suspect, visible, factors, wrong)
        if explanation:
            return (explanation,)
    if len(wrong) < len(visible):
        listed = ", ".join(f"{suspect.names[i]} by {factors[visible.index(i)]:.8g}" for i in wrong)
        return (f"only {suspect.seen(wrong)} disagrees (factor: {listed}); look at the terms of that argument alone",)
    return ()


def _common_factor(suspect: _Suspect, visible: list[int], factors: Array, wrong: list[int]) -> str:
    """Recognise a factor that all components share."""
    factor = float(np.median(factors))
    if not math.isfinite(factor) or factor == 0.0 or not suspect.same(suspect.numeric, factor).all():
        return ""
    known = _familiar(factor, suspect.scales)
    if not known and len(visible) < 2:
        return ""  # a single component always has some factor
    return f"a common factor of {factor:.8g}{known and ': '}{known}"


def _familiar(factor: float, scales: Mapping[str, float]) -> str:
    """Say what a factor reminds of; an empty string if nothing."""
    for name, scale in scales.items():
        inverse = f"1/({name})" if "/" in name else f"1/{name}"
        for times, text in ((1.0, ""), (2.0, "2 "), (0.5, "1/2 ")):
            sign = "-" if factor < 0.0 else ""
            if _near(abs(factor), times * scale):
                return f"{sign}{text}{name}, as when {inverse} is missing (a sum instead of a mean, or other units)"
            if _near(abs(factor), times / scale):
                return f"{sign}{text}{inverse}, as when {inverse} is applied twice, or to the gradient alone"
    size = abs(factor)
    inverse_size = 1.0 / size if size > 0.0 else math.inf
    texts = [
        (_near(size, 1.0), ""),
        (_near(size, 2.0), "a factor of 2 too many"),
        (_near(size, 0.5), "a factor of 2 missing, as from the derivative of a square"),
        (size > 2.0 and _near(2.0 * size, round(2.0 * size)),
         f"{size:.8g} times too large, as when the 1/N of a mean, or half an image size, is forgotten"),
        (0.0 < size < 0.5 and _near(2.0 * inverse_size, round(2.0 * inverse_size)),
         f"{inverse_size:.8g} times too small, as when the 1/N of a mean, or half an image size, enters twice"),
    ]  # fmt: skip
    recognised = [text for matches, text in texts if matches]
    if not recognised:
        return ""
    return " and ".join(filter(None, ["the wrong sign" if factor < 0.0 else "", recognised[0]]))


def _near(number: float, target: float) -> bool:
    return abs(number - target) <= 1e-6 * abs(target)


def _exchanged(suspect: _Suspect, visible: list[int], factors: Array, wrong: list[int]) -> str:
    """Recognise the right numbers in the wrong order."""
    n = len(suspect.names)
    if n > 6:  # 720 orders are quickly tried, more are not
        orders = [tuple(reversed(range(n)))]
    else:
        orders = [order for order in itertools.permutations(range(n)) if order != tuple(range(n))]
    orders.sort(key=lambda order: sum(i != j for i, j in enumerate(order)))
    for order, sign in itertools.product(orders, (1.0, -1.0)):
        if suspect.same(suspect.numeric[list(order)], sign).all():
            moved = [i for i, j in enumerate(order) if i != j]
            negated = ", and the wrong sign" if sign < 0.0 else ""
            if len(moved) == 2:
                text = f"swapped coordinates: {suspect.seen(moved)} are exchanged{negated}"
            elif order == tuple(reversed(range(n))):
                text = f"the components come in reversed order{negated}"
            else:
                text = f"the components come in the order {[suspect.names[j] for j in order]}{negated}"
            return f"{text}, as when (row, column) is mixed up with (x, y) or an array is transposed"
    return ""


def _zeros_and_signs(suspect: _Suspect, visible: list[int], factors: Array, wrong: list[int]) -> str:
    """Recognise components that were forgotten, or that have the wrong sign one by one."""
    missing = [i for i in wrong if suspect.analytic[i] == 0.0]
    if missing and missing == wrong:
        return f"zero in {suspect.seen(missing)} though the value changes: the term was forgotten"
    if suspect.same(suspect.numeric, -1.0)[wrong].all():
        return f"the wrong sign in {suspect.seen(wrong)}"
    return ""


def _axis_factors(suspect: _Suspect, visible: list[int], factors: Array, wrong: list[int]) -> str:
    """Recognise a familiar factor on each component."""
    if not np.isfinite(factors).all():
        return ""
    texts = {
        i: _familiar(float(factor), suspect.scales) for i, factor in zip(visible, factors, strict=True) if i in wrong
    }
    if not all(texts.values()):
        return ""
    listed = "; ".join(f"{suspect.names[i]}: {text}" for i, text in texts.items())
    if len(wrong) == 1:
        return f"a factor of {factors[visible.index(wrong[0])]:.8g} in {listed}"
    values = ", ".join(f"{factor:.8g}" for factor in factors)
    return f"per-axis factors ({values}), as when mixing pixels and normalised coordinates ({listed})"


# ------------------------------------------------------------------------------------------------------
# The check


def check_gradient(
    value_and_gradient: Callable[..., Any],
    at: float | Sequence[float] | ArrayLike,
    *,
    steps: ArrayLike | None = None,
    tolerance: float = 5e-4,
    seed: int = 0,
    directions: int = 3,
    names: Sequence[str] | None = None,
    scales: Mapping[str, float] | None = None,
) -> GradientCheck:
    r"""Compare a hand-derived gradient with finite differences, and explain the outcome.

    Parameters
    ----------
    value_and_gradient : callable
        Called as ``value_and_gradient(*point)`` with Python floats (float64); returns ``(value, gradient)``, the
        gradient with one number per argument. It may raise ValueError or ArithmeticError where it is not
        defined, except at the point itself.
    at : float or sequence of float
        The point; one number per argument.
    steps : array_like, optional
        Steps to try along every line, four at least, in units of the arguments. By default 29 steps from 0.7 times
        ``max(1, |x|)`` downwards, over ten decades.
    tolerance : float, default 5e-4
        Relative uncertainty (dimensionless) beyond which no verdict is given: a slope that the values show less
        precisely is "undecided", and the check does not pass. It is *not* the error that is let through; that
        is the floor, which is found and usually lies ten orders lower.
    seed : int, default 0
        Seed of the random directions.
    directions : int, default 3
        Number of random directions, which catch what the axes do not show; none are drawn for one argument.
    names : sequence of str, optional
        Names of the arguments for the table; by default those of the function's parameters.
    scales : mapping of str to float, optional
        Numbers that the gradient might be off by, such as ``{"N": pixels, "W/2": width / 2}``; a mistake that
        involves one of them is then called by that name.

    Returns
    -------
    GradientCheck
        Ask it `passed`; print it, plot it.

    Raises
    ------
    InputError
        If an argument is unusable, or the function's answer is not a value and a gradient of the right shape.
    Exception
        Whatever the function raises at the point itself.

    Notes
    -----
    The central difference over the step h and its error are

    .. math::

        D(h) = \frac{f(x + h) - f(x - h)}{2h}, \qquad
        D(h) - f'(x) = \frac{h^2}{6} f^{(3)}(x) + O(h^4) + O(\epsilon |f| / h)

    so that the error falls with order 2 until rounding takes over, at best at
    :math:`h \sim (3 \epsilon |f / f^{(3)}|)^{1/3}`
    with some ten digits. One-sided differences err by :math:`h f''(x) / 2`: order 1. Richardson's
    extrapolation removes one power after the other,

    .. math::

        T_{k,m} = T_{k+1,m-1} + \frac{T_{k+1,m-1} - T_{k,m-1}}{(h_k / h_{k+m})^p - 1}, \qquad T_{k,0} = D(h_k)

    with p = 2 for central and 1 for one-sided differences, and allows larger steps with less rounding: 13
    digits and more. The error of an entry is taken as its distance from both its parents plus the rounding it
    inherits; the least one is the *floor*. The noise of the value is read off its higher differences at
    eight neighbouring points on each side, never below the last digit of float64.

    **The rule.** A line passes if ``|analytic - numeric| <= 10 floor``, if the unextrapolated error does not level off
    (order below 0.5) above 5 floors, and if 10 floors are below `tolerance`. A wrong term, however small, is an
    error that stays while the step shrinks: it shows as a plateau, and fails. Along a quadratic the central
    difference is exact at every step; the error is rounding alone and the order is given as exact.

    **Limits.** One point is checked; a vanishing gradient shows neither signs nor factors. The analytic slopes beside
    the point help to tell which steps resolve the function, never what the slope is. A ripple whose height is some
    ten roundings of the value may be taken for a wrong term: remove a large constant from the value.

    **Kinks.** If the slopes to the right and to the left converge to different numbers, the point is a kink: an
    analytic gradient equal to either, or to their mean (what a central difference converges to), passes with
    a remark. Random directions then go to the sides that the gradient took. A kink beside the point only limits
    the steps.

    References
    ----------
    .. [1] C. J. F. Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", Advances in Engineering Software 4
       (1982) 75-76. https://doi.org/10.1016/S0141-1195(82)80057-0
    .. [2] W. H. Press, S. A. Teukolsky, W. T. Vetterling, B. P. Flannery, Numerical Recipes, 3rd ed., section 5.7,
       Cambridge University Press (2007).
    .. [3] J. J. More, S. M. Wild, "Estimating computational noise", SIAM Journal on Scientific Computing 33 (2011)
       1292-1314. https://doi.org/10.1137/100786125
    .. [4] B. Fornberg, "Generation of finite difference formulas on arbitrarily spaced grids", Mathematics of
       Computation 51 (1988) 699-706. https://doi.org/10.1090/S0025-5718-1988-0935077-0

    Examples
    --------
    >>> import math
    >>> def wave(x, y):
    ...     return math.sin(x) * y**2, (math.cos(x) * y**2, 2 * math.sin(x) * y)
    >>> check = check_gradient(wave, at=(0.3, 1.7))
    >>> check.passed, bool((check.digits > 12).all())
    (True, True)

    A gradient that is wrong by a thousandth in one component:

    >>> def wrong(x, y):
    ...     return math.sin(x) * y**2, (1.001 * math.cos(x) * y**2, 2 * math.sin(x) * y)
    >>> check = check_gradient(wrong, at=(0.3, 1.7))
    >>> check.passed
    False
    >>> check.mistakes[0]
    'only x disagrees (factor: x by 1.001); look at the terms of that argument alone'

    A kink, and the side that the formula took:

    >>> def ramp(x):
    ...     return max(0.0, x), (1.0 if x >= 0 else 0.0)
    >>> check = check_gradient(ramp, at=0.0)
    >>> check.passed, check.kinks[0].left, check.kinks[0].right, check.kinks[0].side
    (True, 0.0, 1.0, 'right')
    """
    point = _clean_point(value_and_gradient, at)
    swept = _clean_steps(steps)
    if not (math.isfinite(tolerance) and 0.0 < tolerance < 1.0):
        raise InputError(f"tolerance must lie between 0 and 1, but is {tolerance!r}; the default is 5e-4")
    if directions < 0:
        raise InputError(f"directions must be zero or more random directions, but is {directions!r}")
    if not all(math.isfinite(scale) and scale > 0.0 for scale in (scales or {}).values()):
        raise InputError(f"scales must be positive numbers with a name each, but are {scales!r:.200}")
    labels = _clean_names(value_and_gradient, names, point.size)
    function = _Function(value_and_gradient, point)
    # Far steps may overflow or leave the domain; whatever is not finite there is recognised and left out.
    with np.errstate(all="ignore"):
        return _check(function, labels, swept, tolerance, seed, directions, dict(scales or {}))


def _check(
    function: _Function,
    labels: Sequence[str],
    swept: Array | None,
    tolerance: float,
    seed: int,
    directions: int,
    scales: Mapping[str, float],
) -> GradientCheck:
    """Measure and judge the axes, then the random directions; collect everything into the result."""
    point = function.at
    axes = np.eye(point.size)
    reaches = np.maximum(1.0, np.abs(point))
    axis_steps = [swept if swept is not None else reach * RELATIVE_STEPS for reach in reaches]
    samples = [_sample(function, axis, h, 0.0) for axis, h in zip(axes, axis_steps, strict=True)]
    unit, gradient_unit, notes = _missing_digits(function, samples)
    if unit > 0.0:
        samples = [_sample(function, axis, h, unit) for axis, h in zip(axes, axis_steps, strict=True)]
    judge = _Judge(function, tolerance, _is_coarse(samples, unit), gradient_unit)
    coordinates, kinks = _judge_all(judge, labels, axes, samples)

    sides = {kink.line: kink.side for kink in kinks if kink.side != "away"}
    lines = _random_directions(coordinates, sides, 0 if point.size == 1 else directions, seed, reaches)
    drift = EPSILON * float(np.nansum(np.abs([line.numeric for line in coordinates]) * np.abs(point)))
    line_steps = [swept if swept is not None else length * RELATIVE_STEPS for _, length in lines]
    more = [_sample(function, d, h, unit, drift) for (d, _), h in zip(lines, line_steps, strict=True)]
    diagonals, more_kinks = _judge_all(
        judge,
        [f"direction {i + 1}" for i in range(len(lines))],
        [direction for direction, _ in lines],
        more,
        one_sided=bool(sides),
    )

    everything = coordinates + diagonals
    passed = all(line.verdict == "pass" for line in everything)
    mistakes = () if passed else _explain(function, coordinates, kinks, scales)
    return GradientCheck(
        passed=passed, message=_summarise(everything, passed), mistakes=mistakes,
        notes=_remarks(function, everything, samples + more, notes), kinks=kinks + more_kinks,
        rule=f"pass if |analytic - numeric| <= {REACH:g} floor, no plateau (order < {PLATEAU:g}) above "
        f"{0.5 * REACH:g} floor, and {REACH:g} floor <= {tolerance:g} of the slope",
        at=tuple(point.tolist()), value=function.value, noise=max(sample.noise for sample in samples + more),
        seed=seed, coordinates=coordinates, directions=diagonals,
    )  # fmt: skip


def _clean_point(function: object, at: float | Sequence[float] | ArrayLike) -> Array:
    if not callable(function):
        raise InputError(
            f"value_and_gradient must be a function that returns (value, gradient), but is {function!r:.100}; "
            f"pass the function itself, not the result of calling it"
        )
    try:
        point = np.atleast_1d(np.asarray(at, dtype=np.float64))
    except (TypeError, ValueError):
        raise InputError(f"at must be a number or a sequence of numbers, but is {at!r:.100}") from None
    if point.ndim != 1 or point.size == 0 or not np.isfinite(point).all():
        raise InputError(f"at must hold one finite number per argument of the function, but is {at!r:.100}")
    return point


def _clean_steps(steps: ArrayLike | None) -> Array | None:
    if steps is None:
        return None
    try:
        swept = np.unique(np.asarray(steps, dtype=np.float64).ravel())[::-1].copy()
    except (TypeError, ValueError):
        raise InputError(f"steps must be positive numbers, but are {steps!r:.100}") from None
    if swept.size < 4 or not (np.isfinite(swept) & (swept > 0.0)).all():
        raise InputError(
            f"steps must be four or more different positive numbers, but are {steps!r:.100}; "
            f"for example numpy.geomspace(1e-1, 1e-8, 22)"
        )
    return swept


def _clean_names(function: Callable[..., Any], names: Sequence[str] | None, size: int) -> list[str]:
    """Take the names given, or those of the function's parameters if there are as many."""
    if names is not None:
        if len(names) != size or isinstance(names, str):
            raise InputError(f"names must hold one name for each of the {size} argument(s), but is {names!r:.100}")
        return [str(name) for name in names]
    fixed = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    found = [parameter.name for parameter in parameters if parameter.kind in fixed][:size]
    return found if len(found) == size else [f"x{i}" for i in range(size)]


def _missing_digits(function: _Function, samples: Sequence[_Samples]) -> tuple[float, float, list[str]]:
    """Return the relative rounding of value and gradient where it is coarser than float64, with notes."""
    units, notes = [], []
    measured = (
        np.concatenate([sample.values for sample in samples]),
        np.concatenate([sample.slopes for sample in samples]),
    )
    for what, dtype, numbers in zip(("value", "gradient"), function.dtypes, measured, strict=True):
        unit, name = _coarse_unit(numbers)
        if dtype.kind == "f" and dtype.itemsize < 8:
            unit, name = float(np.finfo(dtype).eps), dtype.name
        units.append(unit)
        if unit > 0.0:
            notes.append(
                f"the {what} carries the digits of {name} only (rounded to {unit:.1e} of its size), and the floor "
                f"rises accordingly; return float64 to see more"
            )
    return units[0], units[1], notes


def _is_coarse(samples: Sequence[_Samples], unit: float) -> bool:
    """Tell whether the value scatters by more than float64 explains."""
    largest = max(float(np.max(np.abs(s.values[np.isfinite(s.values)]), initial=0.0)) for s in samples)
    return (
        unit > 0.0
        or any(sample.note for sample in samples)
        or max(sample.noise for sample in samples) > 1e3 * EPSILON * largest
    )


def _judge_all(
    judge: _Judge,
    names: Sequence[str],
    directions: Sequence[Array] | Array,
    samples: Sequence[_Samples],
    one_sided: bool = False,
) -> tuple[tuple[LineCheck, ...], tuple[Kink, ...]]:
    judged = [
        judge.line(name, direction, sample, one_sided)
        for name, direction, sample in zip(names, directions, samples, strict=True)
    ]
    return tuple(check for check, _ in judged), tuple(kink for _, kinks in judged for kink in kinks)


def _random_directions(
    coordinates: Sequence[LineCheck], sides: Mapping[str, str], count: int, seed: int, reaches: Array
) -> list[tuple[Array, float]]:
    """Draw unit vectors, and the distance to go along each.

    Every argument takes part in proportion to its scale. At a kink the slope along a line is that of the gradient
    only towards the side that the gradient took; arguments that took no side stay put.
    """
    generator = np.random.default_rng(seed)
    signs = {"right": 1.0, "left": -1.0, "central": 0.0, "neither": 0.0}
    drawn = []
    for _ in range(count):
        amounts = generator.uniform(0.4, 1.0, len(reaches)) * generator.choice([-1.0, 1.0], len(reaches))
        for i, line in enumerate(coordinates):
            if line.name in sides:
                amounts[i] = signs[sides[line.name]] * abs(amounts[i])
        vector = amounts * reaches
        length = float(np.linalg.norm(vector))
        if length > 0.0:
            drawn.append((vector / length, length))
    return drawn


def _explain(
    function: _Function, coordinates: Sequence[LineCheck], kinks: Sequence[Kink], scales: Mapping[str, float]
) -> tuple[str, ...]:
    """Look for a named mistake; at kinks against the right, the left and the mean slopes in turn."""
    numeric = np.array([line.numeric for line in coordinates])
    candidates = [numeric]
    here = {kink.line: kink for kink in kinks if kink.side != "away"}
    if here:
        slopes = [
            [(k.right, k.left, 0.5 * (k.left + k.right)) if (k := here.get(line.name)) else (line.numeric,) * 3]
            for line in coordinates
        ]
        candidates = [np.array([triple[0][side] for triple in slopes]) for side in range(3)] + candidates
    reach = REACH * np.array([line.floor for line in coordinates])
    if not (np.isfinite(function.gradient).all() and np.isfinite(numeric).all()):
        return ()
    names = tuple(line.name for line in coordinates)
    found: tuple[str, ...] = ()
    for candidate in candidates:
        found = _name_mistakes(_Suspect(function.gradient, candidate, reach, names, scales))
        if found and not found[0].startswith("only"):
            break
    return found


def _summarise(lines: Sequence[LineCheck], passed: bool) -> str:
    """Put the verdict into a sentence."""
    if passed:
        digits = [line.digits for line in lines if max(abs(line.analytic), abs(line.numeric)) > REACH * line.floor]
        agreement = f" and agree to {min(digits):.1f} digits or more" if digits else ""
        return f"passed: analytic and numeric slopes are equal within the floor on all {len(lines)} lines{agreement}"
    failed = [line.name for line in lines if line.verdict == "FAIL"]
    undecided = [line.name for line in lines if line.verdict == "undecided"]
    parts = [f"FAILED along {', '.join(failed)}"] if failed else []
    parts += [f"{'undecided' if failed else 'NOT PASSED: undecided'} along {', '.join(undecided)}"] if undecided else []
    return "; ".join(parts)


def _remarks(
    function: _Function, lines: Sequence[LineCheck], samples: Sequence[_Samples], notes: Sequence[str]
) -> tuple[str, ...]:
    """Collect what limits the check, each remark once."""
    remarks = [*notes, *(sample.note for sample in samples if sample.note)]
    if function.refusal:
        remarks.append(f"steps were left out because the function raised {function.refusal}")
    largest = max(float(np.max(np.abs(s.values[np.isfinite(s.values)]), initial=0.0)) for s in samples)
    noise = max(sample.noise for sample in samples)
    if not remarks and noise > 1e3 * EPSILON * largest > 0.0:
        times = noise / (EPSILON * largest)
        remarks.append(
            f"the value scatters by {noise:.1e}, {times:.1g} times the rounding of float64: it is noisy, or computed "
            f"with fewer digits somewhere inside (float32?)"
        )
    steepest = max(float(np.max(np.abs(s.slopes[np.isfinite(s.slopes)]), initial=0.0)) for s in samples)
    slope_noise = max(sample.slope_noise for sample in samples)
    if not any("the gradient carries" in remark for remark in remarks) and slope_noise > 1e4 * EPSILON * steepest:
        remarks.append(
            f"the analytic gradient scatters by {slope_noise:.1e} between neighbouring points, and the floor rises "
            f"accordingly"
        )
    faint = [line for line in lines if math.isfinite(line.floor) and line.abs_error <= REACH * line.floor]
    vanishing = [line for line in faint if abs(line.numeric) <= REACH * line.floor]
    if vanishing and len(vanishing) == len(lines):
        remarks.append(
            "the gradient vanishes here within the floor, so that a wrong sign, factor or order would leave no "
            "trace; check at another point as well"
        )
    else:
        remarks += [
            f"{line.name}: the analytic slope {line.analytic:.3g} is zero within what the values can show"
            for line in vanishing
            if line.analytic != 0.0
        ]
    one_sided = [line.name for line in lines if line.stencil in ("right", "left")]
    if one_sided:
        remarks.append(f"one-sided differences were used along {', '.join(one_sided)}; their errors fall with order 1")
    return tuple(dict.fromkeys(remarks))
