r"""Finite differences that explain themselves.

Is this gradient the gradient of that value?

The checker knows nothing of images. It walks from one point along each argument and along a few random directions,
differences the value over a sweep of steps, and finds out by itself how far the numbers can be trusted
(`alignment.differences`, `alignment.extrapolation`). Only then does it judge (`alignment.judge`), and it says why
(`alignment.remarks`): kinks with both their slopes, and common mistakes by their names.

>>> from math import exp
>>> def bowl(x, y):
...     return x * x * y + exp(y), (2 * x * y, x * x + exp(y))
>>> check_gradient(bowl, at=(1.5, -0.5)).passed
True
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import InputError, finite_number, in_words, positive_number, whole_number
from .differences import EPSILON, RELATIVE_STEPS, Array, Function, Sweep, is_noisy, missing_digits, sweep
from .findings import GradientCheck
from .judge import PLATEAU, REACH, Judge
from .kinks import Kink
from .linecheck import LineCheck
from .remarks import likely_mistakes, limits, summary

__all__ = ["GradientCheck", "Kink", "LineCheck", "check_gradient"]

MOST_DIRECTIONS = 1000  # each takes a whole sweep


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
    known = missing_digits(function, sweeps)
    if known.value > 0.0:  # now that this is known, every difference gets the rounding that it has
        sweeps = measured(axes, known.value)
    judge = Judge(function, tolerance, known.value > 0.0 or is_noisy(sweeps), known.gradient)
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
        message=summary(everything, passed),
        mistakes=() if passed else likely_mistakes(function, coordinates, kinks, scales),
        notes=tuple(dict.fromkeys(limits(function, everything, sweeps + more, known))),
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


# arguments at the door


def _clean_point(function: object, at: float | Sequence[float] | ArrayLike) -> Array:
    """Return the point as floats, one for each argument of the function."""
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


def _bind(signature: inspect.Signature, point: Array) -> None:
    """Refuse a point with more or fewer numbers than the function takes."""
    try:
        signature.bind(*point)
    except TypeError as error:
        message = f"at holds {point.size} number(s), but the function takes {signature}; give one for each argument"
        raise InputError(message) from error


def _clean_steps(steps: ArrayLike | None) -> Array | None:
    """Return the steps, largest first and each once; None for those of the checker."""
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


def _clean_scales(scales: Mapping[str, float] | None) -> dict[str, float]:
    """Return the named factors that a mistake may consist of."""
    if scales is None:
        return {}
    if not isinstance(scales, Mapping) or not all(isinstance(name, str) for name in scales):
        raise InputError("scales must be positive numbers with a name each; give for example {'N': 4096.0}")
    return {name: positive_number(f"the scale {name}", value) for name, value in scales.items()}
