r"""Finite differences that explain themselves.

Is this gradient the gradient of that value?

The checker knows nothing of images. It walks from one point along each argument and along a few random directions,
differences the value over a sweep of steps, and finds out by itself how far the numbers can be trusted
(`alignment.differences`). Only then does it judge, and it says why: kinks with both their slopes, and common mistakes
by their names (`alignment.mistakes`).

>>> from math import exp
>>> def bowl(x, y):
...     return x * x * y + exp(y), (2 * x * y, x * x + exp(y))
>>> check_gradient(bowl, at=(1.5, -0.5)).passed
True
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from ._checks import InputError, finite_number, in_words, positive_number, whole_number
from .differences import (
    EPSILON,
    RELATIVE_STEPS,
    Array,
    Function,
    Side,
    Slope,
    Sweep,
    coarse_unit,
    extrapolate,
    find_kink,
    largest,
    measured_order,
    sweep,
)
from .mistakes import Suspect, disagreement, mistake

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["GradientCheck", "Kink", "LineCheck", "check_gradient"]

REACH = 10.0  # an error beyond so many floors is an error of the formula, not of the difference
MOST_DIRECTIONS = 1000  # each takes a whole sweep
PLATEAU = 0.5  # an error that falls more slowly than this power of the step is not falling
SIDES: tuple[Side, ...] = ("central", "right", "left")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito


# what is handed back


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

    @property
    def order_in_words(self) -> str:
        """The order with two decimals, "exact" without truncation error, "-" where it cannot be measured."""
        return "exact" if self.order == math.inf else "-" if math.isnan(self.order) else f"{self.order:.2f}"

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
        parts += [f"likely mistake: {text}" for text in self.mistakes]
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
        looks = zip(itertools.cycle(COLOURS), itertools.cycle("osD^vP"), strict=True)
        for line, (colour, marker) in zip(self.coordinates, looks, strict=False):
            shown = np.isfinite(line.errors) & (line.errors > 0.0)
            ax.plot(
                line.steps[shown], line.errors[shown], color=colour, marker=marker, markersize=5.0, linewidth=1.6,
                label=f"{line.name}, {line.stencil} difference, order {line.order_in_words}",
            )  # fmt: skip
            if math.isfinite(line.floor) and line.floor > 0.0:
                ax.axhline(line.floor, color=colour, linestyle=":", linewidth=1.4)
        _draw_guides(ax, self.coordinates)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("step (units of the argument)", fontsize=12.5)
        ax.set_ylabel("|difference $-$ analytic gradient|", fontsize=12.5)
        ax.set_title(f"gradient check: {'passed' if self.passed else 'FAILED'}", fontsize=14.0)
        ax.tick_params(labelsize=11.5)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(True, color="#E4E4E4", linewidth=0.8)
        ax.set_axisbelow(True)
        ax.legend(fontsize=10.5, frameon=False, loc="upper left")
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
    heads = "along analytic numeric abs_error rel_error floor step order difference verdict"
    rows = [[head.replace("_", " ") for head in heads.split()]]
    for line in lines:
        slopes = [f"{slope:.13g}" for slope in (line.analytic, line.numeric)]
        sizes = [f"{size:.1e}" for size in (line.abs_error, line.rel_error, line.floor, line.best_step)]
        cells = [line.name, *slopes, *sizes, line.order_in_words, line.stencil, line.verdict]
        rows.append(["-" if cell in ("nan", "inf") else cell for cell in cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _draw_guides(ax: Axes, lines: Sequence[LineCheck]) -> None:
    """Draw the slopes 1 and 2 beside the largest error, so that an eye can read the order off, and name the floor."""
    steps = np.concatenate([line.steps for line in lines])
    errors = np.concatenate([line.errors for line in lines])
    shown = np.isfinite(errors) & (errors > 0.0)
    if not shown.any():
        return
    # Four decades are enough to compare with; a little higher than the data, so as not to hide them.
    top_step, top_error = steps[shown].max(), errors[shown].max()
    reach = np.array([1e-4, 1.0])
    for order, dashes in ((1, "--"), (2, "-.")):
        ax.plot(top_step * reach, 5.0 * top_error * reach**order, dashes, color="0.5", label=f"slope {order}")
    ax.plot([], [], ":", color="0.5", linewidth=1.4, label="floor after extrapolation")


# the check


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
    if not 0.0 < finite_number("tolerance", tolerance) < 1.0:
        raise InputError(f"tolerance must lie between 0 and 1, but is {tolerance!r}; the default is 5e-4")
    seed = whole_number("seed", seed)
    if whole_number("directions", directions) > MOST_DIRECTIONS:
        raise InputError(f"directions is {directions}; give at most {MOST_DIRECTIONS}")
    known = _clean_scales(scales)
    labels = _clean_names(value_and_gradient, names, point.size)
    function = Function(value_and_gradient, point)
    # Far steps may overflow or leave the domain; whatever is not finite there is recognised and left out.
    with np.errstate(all="ignore"):
        return _check(function, labels, swept, tolerance, seed, directions, known)


def _check(
    function: Function,
    labels: Sequence[str],
    swept: Array | None,
    tolerance: float,
    seed: int,
    directions: int,
    scales: Mapping[str, float],
) -> GradientCheck:
    """Measure and judge the axes, then the random directions; collect everything into the result."""
    point = function.at

    def measured(lines: Sequence[tuple[Array, float]], unit: float = 0.0, drift: float = 0.0) -> list[Sweep]:
        """Sweep along every direction, over steps in proportion to its length unless the caller gave steps."""
        return [
            sweep(function, direction, length * RELATIVE_STEPS if swept is None else swept, unit, drift)
            for direction, length in lines
        ]

    axes = list(zip(np.eye(point.size), function.reaches.tolist(), strict=True))
    sweeps = measured(axes)
    known = _missing_digits(function, sweeps)
    if known.value > 0.0:  # now that this is known, every difference gets the rounding that it has
        sweeps = measured(axes, known.value)
    judge = _Judge(function, tolerance, known.value > 0.0 or _is_noisy(sweeps), known.gradient)
    coordinates, kinks = judge.lines(labels, axes, sweeps)

    sides = {kink.line: kink.side for kink in kinks if kink.side != "away"}
    drawn = _random_directions(coordinates, sides, 0 if point.size == 1 else directions, seed, function.reaches)
    drift = EPSILON * float(np.nansum(np.abs([line.numeric for line in coordinates]) * np.abs(point)))
    more = measured(drawn, known.value, drift)
    numbered = [f"direction {i + 1}" for i in range(len(drawn))]
    diagonals, more_kinks = judge.lines(numbered, drawn, more, one_sided=bool(sides))

    everything = coordinates + diagonals
    passed = all(line.verdict == "pass" for line in everything)
    return GradientCheck(
        passed=passed,
        message=_summary(everything, passed),
        mistakes=() if passed else _explain(function, coordinates, kinks, scales),
        notes=tuple(dict.fromkeys(_remarks(function, everything, sweeps + more, known))),
        kinks=kinks + more_kinks,
        rule=f"pass if |analytic - numeric| <= {REACH:g} floor, no plateau (order < {PLATEAU:g}) above "
        f"{0.5 * REACH:g} floor, and {REACH:g} floor <= {tolerance:g} of the slope",
        at=tuple(point.tolist()),
        value=function.value,
        noise=max(one.noise for one in sweeps + more),
        seed=seed,
        coordinates=coordinates,
        directions=diagonals,
    )


class _Rounding(NamedTuple):
    """The relative rounding of value and gradient where it is coarser than float64, otherwise 0, with notes."""

    value: float
    gradient: float
    notes: list[str]


def _missing_digits(function: Function, sweeps: Sequence[Sweep]) -> _Rounding:
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
    return _Rounding(units[0], units[1], notes)


def _is_noisy(sweeps: Sequence[Sweep]) -> bool:
    """Tell whether the value scatters by more than float64 explains."""
    rounding = EPSILON * max(largest(one.values) for one in sweeps)
    return any(one.note for one in sweeps) or max(one.noise for one in sweeps) > 1e3 * rounding


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


# the verdict on a line


@dataclass(frozen=True)
class _Line:
    """A line to be judged: its measurements, and the analytic slope along it with its own rounding."""

    name: str
    direction: Array
    sweep: Sweep
    analytic: float
    rounding: float


@dataclass(frozen=True)
class _Judge:
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

    def _prepare(self, name: str, direction: Array, measured: Sweep) -> _Line:
        taking_part = direction != 0.0  # zero times infinity would be NaN
        gradient, shares = self.function.gradient[taking_part], direction[taking_part]
        rounding = max(4.0 * EPSILON, self.gradient_unit) * float(np.abs(gradient) @ np.abs(shares))
        return _Line(name, direction, measured, float(gradient @ shares), rounding + measured.slope_noise)

    def _judge(self, line: _Line, one_sided: bool) -> tuple[LineCheck, tuple[Kink, ...]]:
        """Compare the analytic slope with the numeric one, and say what stands in the way."""
        if not math.isfinite(self.function.value):
            return _undefined(line, f"the value at the point is {self.function.value}; check where it is finite"), ()
        if not math.isfinite(line.analytic):
            return _undefined(line, "the analytic gradient is not finite at the point; nothing can be compared"), ()
        slopes = {side: extrapolate(line.sweep.sides[side], line.sweep.steps) for side in SIDES}
        right, left = slopes["right"], slopes["left"]
        if not one_sided and right and left and self._is_kink(line, slopes["central"], right, left):
            return self._at_kink(line, right, left)
        preferred: tuple[Side, ...] = ("right",) if one_sided else SIDES
        for side in preferred:
            if (slope := slopes[side]) is not None:
                kinks = self._kinks_beside(line, slope) if side == "central" else ()
                return self._compare(line, slope, side), kinks
        return _undefined(line, "the function has no finite values around the point to compare with"), ()

    def _is_kink(self, line: _Line, central: Slope | None, right: Slope, left: Slope) -> bool:
        """Tell whether the slope jumps at the point, and not merely nearby."""
        jump = abs(right.value - left.value)
        if jump <= REACH * (right.error + left.error):
            return False
        if central is None or line.sweep.bends_by(jump):
            return True
        return self._compare(line, central, "central").verdict != "pass"

    def _at_kink(self, line: _Line, right: Slope, left: Slope) -> tuple[LineCheck, tuple[Kink, ...]]:
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

    def _compare(self, line: _Line, slope: Slope, side: Side) -> LineCheck:
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

    def _yardstick(self, line: _Line, slope: Slope, size: float, floor: float) -> float:
        """Return the slope that the tolerance refers to.

        A slope far below the others drowns in the rounding of the value. In full float64 nobody can ask for more, so
        that the largest component, the value itself and the chord over the best step count too. With fewer
        digits than that, a slope that shows at all has to be verified on its own.
        """
        if self.coarse and size > REACH * floor:
            return size
        average = abs(self.function.value) / self.function.scale(line.direction)
        return max(size, largest(self.function.gradient), average, line.sweep.chord(slope.row))

    def _kinks_beside(self, line: _Line, slope: Slope) -> tuple[Kink, ...]:
        """Report the kinks near the best step, on either side, if larger steps do worse."""
        row, steps = slope.row, line.sweep.steps
        if row == 0 or not slope.row_errors[row - 1] > 2.0 * slope.error:
            return ()
        # Extrapolation dilutes what the largest of its steps met: the kink may lie somewhat closer or farther.
        near, far = 0.4 * steps[row], 1.2 * steps[max(row - 2, 0)]
        found = [find_kink(self.function, line.direction, s * near, s * far, line.sweep.noise) for s in (1.0, -1.0)]
        return tuple(Kink(line.name, *jump, "away") for jump in found if jump is not None)


def _undefined(line: _Line, reason: str) -> LineCheck:
    """Fail a line where there is nothing to compare, and say what is missing."""
    return LineCheck(
        name=line.name, direction=line.direction, analytic=line.analytic, numeric=math.nan, abs_error=math.inf,
        rel_error=math.inf, floor=math.inf, best_step=math.nan, order=math.nan, stencil="none",
        steps=line.sweep.steps, errors=np.full(len(line.sweep.steps), math.nan), verdict="FAIL", reason=reason,
    )  # fmt: skip


# the words


def _explain(
    function: Function, coordinates: Sequence[LineCheck], kinks: Sequence[Kink], scales: Mapping[str, float]
) -> tuple[str, ...]:
    """Look for a mistake with a name; at kinks against the right, the left and the mean slopes in turn."""
    numeric = np.array([line.numeric for line in coordinates])
    if not (np.isfinite(function.gradient).all() and np.isfinite(numeric).all()):
        return ()
    candidates = [numeric]
    here = {kink.line: kink for kink in kinks if kink.side != "away"}
    if here:
        sides = [
            (kink.right, kink.left, 0.5 * (kink.left + kink.right)) if (kink := here.get(line.name)) else 3 * (slope,)
            for line, slope in zip(coordinates, numeric, strict=True)
        ]
        candidates = [*np.array(sides).T, numeric]
    reach = REACH * np.array([line.floor for line in coordinates])
    names = [line.name for line in coordinates]
    suspects = [Suspect(function.gradient, candidate, reach, names, scales) for candidate in candidates]
    text = next(filter(None, map(mistake, suspects)), "") or disagreement(suspects[-1])
    return (text,) if text else ()


def _summary(lines: Sequence[LineCheck], passed: bool) -> str:
    """Put the verdict into a sentence."""
    if passed:
        digits = [line.digits for line in lines if max(abs(line.analytic), abs(line.numeric)) > REACH * line.floor]
        agreement = f" and agree to {min(digits):.1f} digits or more" if digits else ""
        return f"passed: analytic and numeric slopes are equal within the floor on all {len(lines)} lines{agreement}"
    failed = ", ".join(line.name for line in lines if line.verdict == "FAIL")
    undecided = ", ".join(line.name for line in lines if line.verdict == "undecided")
    if not failed:
        return f"NOT PASSED: undecided along {undecided}"
    return f"FAILED along {failed}" + (f"; undecided along {undecided}" if undecided else "")


def _remarks(function: Function, lines: Sequence[LineCheck], sweeps: Sequence[Sweep], known: _Rounding) -> list[str]:
    """Collect what limits the check."""
    remarks = [*known.notes, *(one.note for one in sweeps if one.note)]
    if function.refusal:
        remarks.append(f"steps were left out because the function raised {function.refusal}")
    if not remarks:
        remarks += _noise_of_value(sweeps)
    if known.gradient == 0.0:
        remarks += _noise_of_gradient(sweeps)
    return [*remarks, *_vanishing(lines), *_one_sided(lines)]


def _noise_of_value(sweeps: Sequence[Sweep]) -> list[str]:
    noise, rounding = max(one.noise for one in sweeps), EPSILON * max(largest(one.values) for one in sweeps)
    if not noise > 1e3 * rounding > 0.0:
        return []
    return [
        f"the value scatters by {noise:.1e}, {noise / rounding:.1g} times the rounding of float64: it is noisy, or "
        f"computed with fewer digits somewhere inside (float32?)"
    ]


def _noise_of_gradient(sweeps: Sequence[Sweep]) -> list[str]:
    noise, steepest = max(one.slope_noise for one in sweeps), max(largest(one.slopes) for one in sweeps)
    if noise <= 1e4 * EPSILON * steepest:
        return []
    return [
        f"the analytic gradient scatters by {noise:.1e} between neighbouring points, and the floor rises accordingly"
    ]


def _vanishing(lines: Sequence[LineCheck]) -> list[str]:
    """Say where a slope is too close to zero to show what is wrong with it."""
    vanishing = [line for line in lines if max(abs(line.numeric), line.abs_error) <= REACH * line.floor < math.inf]
    if len(vanishing) == len(lines):
        return [
            "the gradient vanishes here within the floor, so that a wrong sign, factor or order would leave no "
            "trace; check at another point as well"
        ]
    return [
        f"{line.name}: the analytic slope {line.analytic:.3g} is zero within what the values can show"
        for line in vanishing
        if line.analytic != 0.0
    ]


def _one_sided(lines: Sequence[LineCheck]) -> list[str]:
    names = ", ".join(line.name for line in lines if line.stencil in ("right", "left"))
    return [f"one-sided differences were used along {names}; their errors fall with order 1"] if names else []


# arguments at the door


def _bind(signature: inspect.Signature, point: Array) -> None:
    """Refuse a point with more or fewer numbers than the function takes."""
    try:
        signature.bind(*point)
    except TypeError as error:
        message = f"at holds {point.size} number(s), but the function takes {signature}; give one for each argument"
        raise InputError(message) from error


def _clean_scales(scales: Mapping[str, float] | None) -> dict[str, float]:
    """Return the named factors that a mistake may consist of."""
    if scales is None:
        return {}
    if not isinstance(scales, Mapping) or not all(isinstance(name, str) for name in scales):
        raise InputError("scales must be positive numbers with a name each; give for example {'N': 4096.0}")
    return {name: positive_number(f"the scale {name}", value) for name, value in scales.items()}


def _clean_point(function: object, at: float | Sequence[float] | ArrayLike) -> Array:
    if not callable(function):
        raise InputError(
            f"value_and_gradient must be a function that returns (value, gradient), but is {in_words(function)}; "
            f"pass the function itself, not the result of calling it"
        )
    try:
        given = np.atleast_1d(np.asarray(at))
        point = given.astype(np.float64) if given.dtype.kind in "iufO" else np.array([])
    except (TypeError, ValueError, OverflowError):
        point = np.array([])
    if point.ndim != 1 or point.size == 0 or not np.isfinite(point).all():
        raise InputError(f"at is {in_words(at)}; give one finite number per argument of the function")
    signature = None
    with contextlib.suppress(TypeError, ValueError):  # some functions written in C do not tell
        signature = inspect.signature(function)
    if signature is not None:
        _bind(signature, point)
    return point


def _clean_steps(steps: ArrayLike | None) -> Array | None:
    if steps is None:
        return None
    try:
        swept = np.unique(np.asarray(steps, dtype=np.float64).ravel())[::-1].copy()
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"steps is {in_words(steps)}; give positive numbers") from None
    if swept.size < 4 or not (np.isfinite(swept) & (swept > 0.0)).all():
        raise InputError(
            f"steps must be four or more different positive numbers, but are {in_words(steps)}; "
            f"for example numpy.geomspace(1e-1, 1e-8, 22)"
        )
    return swept


def _clean_names(function: Callable[..., Any], names: Sequence[str] | None, size: int) -> list[str]:
    """Take the names given, or those of the function's parameters if there are as many."""
    if names is not None:
        if (
            not isinstance(names, Sequence)
            or isinstance(names, str | bytes)
            or not all(isinstance(n, str) for n in names)
        ):
            raise InputError(f"names is {in_words(names)}; give a text for each argument")
        if len(names) != size:
            raise InputError(f"names is {in_words(names)}; give one name for each of the {size} argument(s)")
        return list(names)
    fixed = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    found = [parameter.name for parameter in parameters if parameter.kind in fixed][:size]
    return found if len(found) == size else [f"x{i}" for i in range(size)]
