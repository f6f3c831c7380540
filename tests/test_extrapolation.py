"""Extrapolation: the slope within its own error, and the order that the error falls with."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alignment.differences import RELATIVE_STEPS, Differences, Function, sweep
from alignment.extrapolation import extrapolate, measured_order

FUNCTIONS = {
    "exponential": (math.exp, math.exp),
    "wave": (lambda x: math.sin(20 * x), lambda x: 20 * math.cos(20 * x)),
    "pole nearby": (lambda x: 1 / (1.1 - x), lambda x: (1.1 - x) ** -2),
    "cubic": (lambda x: x**3, lambda x: 3 * x * x),
}


@pytest.mark.parametrize("side", ["central", "right", "left"])
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("at", [0.0, 0.3, -0.8])
def test_a_slope_is_within_a_few_of_its_own_errors(name, side, at):
    value, slope = FUNCTIONS[name]
    measured = sweep(Function(lambda x: (value(x), [slope(x)]), np.array([at])), np.ones(1), RELATIVE_STEPS)
    found = extrapolate(measured.sides[side], measured.steps)
    assert abs(found.value - slope(at)) <= 5 * found.error
    assert found.error < 1e-8 * max(1.0, abs(slope(at)))


def test_a_step_that_jumps_over_a_whole_wave_is_not_believed():
    """Coarse rows agree with one another, on the slope of what they skip; the finer ones know better."""
    steps = 0.5 ** np.arange(30)
    slopes = np.where(steps > 1e-3, 1.0, 3.0)
    found = extrapolate(Differences(slopes, np.full(30, math.nan), 1e-16 / steps, power=2), steps)
    assert steps[found.row] < 1e-3
    assert found.value == pytest.approx(3.0)


def test_nothing_finite_gives_no_slope():
    nothing = np.full(8, math.nan)
    assert extrapolate(Differences(nothing, nothing, np.ones(8), power=2), 0.5 ** np.arange(8)) is None


@pytest.mark.parametrize("order", [1, 2, 4])
def test_the_order_is_read_off_where_the_error_stands_clear_of_the_rounding(order):
    steps = 0.25 ** np.arange(12)
    rounding = np.full(12, 1e-15)
    errors = np.maximum(steps**order, rounding)
    found, support = measured_order(steps, errors, rounding, first=0)
    assert found == pytest.approx(order)
    assert 3 <= support <= 5


def test_too_few_steps_tell_no_order():
    found, support = measured_order(0.1 ** np.arange(6), np.array([1.0, 0.01, *4 * [0.0]]), np.full(6, 1e-6), first=0)
    assert math.isnan(found)
    assert support == 2
