"""The judge of a line: plateaus fail, kinks are told from bends, and what cannot be told is undecided."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alignment.differences import Differences, Function, Sweep
from alignment.extrapolation import Slope
from alignment.gradcheck import check_gradient
from alignment.judge import Judge, Line

from .gradients import AT, Bilinear, smooth, spoilt


def test_a_small_error_shows_as_a_plateau_even_where_a_loose_tolerance_would_let_it_pass():
    assert not check_gradient(spoilt(smooth, lambda g: g + 1e-9), AT, tolerance=0.1).passed
    check = check_gradient(spoilt(smooth, lambda g: g + 1e-6), AT, tolerance=0.1)
    assert not check.passed
    assert "levels off" in str(check)
    assert (np.abs(check.order) < 0.2).all()


def judged(right, left, rounding):
    """Return a judge of a slope of 1, and a line whose one-sided differences are these at every step."""
    steps = np.geomspace(1.0, 1e-7, 8)
    judge = Judge(Function(lambda x: (x, [1.0]), np.zeros(1)), 5e-4, False, 0.0)
    kinds = {"central": (right + left) / 2, "right": right, "left": left}
    sides = {side: Differences(np.full(8, slope), np.ones(8), np.full(8, rounding), 1) for side, slope in kinds.items()}
    sweep = Sweep(steps, sides, np.ones(8), np.ones(8), 0.0, 0.0, "")
    return judge, Line("x", np.ones(1), sweep, 1.0, 0.0)


def test_a_plateau_within_reach_of_the_floor_fails_by_its_order():
    judge, line = judged(right=1 + 7e-9, left=1 + 7e-9, rounding=1e-12)
    slope = Slope(1 + 7e-9, 1e-9, 0, np.full(8, 1e-9))
    check = judge._compare(line, slope, "central")
    assert (check.verdict, check.reason[:22]) == ("FAIL", "the error levels off a")
    assert "(order 0.00) before rounding" in check.reason or "(order -0.00) before rounding" in check.reason


@pytest.mark.parametrize(("central", "kink"), [(1.0, False), (1.5, True)])
def test_slopes_too_coarse_to_bend_make_a_kink_only_if_the_central_one_is_no_answer(central, kink):
    judge, line = judged(right=2.0, left=0.0, rounding=1.0)
    right, left, middle = (Slope(value, 1e-9, 0, np.full(8, 1e-9)) for value in (2.0, 0.0, central))
    assert judge._is_kink(line, middle, right, left) is kink


@pytest.mark.parametrize(("slope", "side"), [(1.0, "right"), (-1.0, "left"), (0.0, "central")])
def test_the_side_taken_at_a_kink_is_reported_and_passes(slope, side):
    check = check_gradient(lambda x: (abs(x) + math.sin(x), [slope * (x == 0) + np.sign(x) + math.cos(x)]), 0.0)
    assert check.passed
    (kink,) = check.kinks
    assert (kink.side, kink.distance) == (side, 0.0)
    assert kink.left == pytest.approx(0.0, abs=1e-12)
    assert kink.right == pytest.approx(2.0, abs=1e-12)
    assert "kink at the point" in str(check)


@pytest.mark.parametrize(("slope", "where"), [(0.25, "between"), (1.5, "outside"), (-0.3, "outside")])
def test_a_slope_that_is_on_no_side_of_a_kink_fails_with_an_explanation(slope, where):
    check = check_gradient(lambda x: (max(0.0, x), [slope]), 0.0)
    assert not check.passed
    assert check.kinks[0].side == "neither"
    assert f"lies {where} the two" in str(check)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("at", [0.0, 3.0, -2.0])
def test_bilinear_loss_at_an_integer(side, at):
    check = check_gradient(Bilinear(side), at)
    assert check.passed
    assert [kink.side for kink in check.kinks] == [side]
    assert check.coordinates[0].stencil == side
    assert check.digits[0] > 11


@pytest.mark.parametrize("at", [1e-3, -1e-3, 0.999, 2.5, 0.2, 1e-5, 1 + 1e-7])
def test_bilinear_loss_beside_an_integer(at):
    check = check_gradient(Bilinear(), at)
    assert check.passed
    assert all(kink.side == "away" for kink in check.kinks)
    assert not check_gradient(spoilt(Bilinear(), lambda g: 1.001 * g), at).passed


def test_noise_is_measured_and_a_hopeless_case_is_undecided_not_passed():
    generator = np.random.default_rng(1)
    quiet = check_gradient(lambda x: (x * x + 1e-9 * generator.normal(), [2 * x]), 0.5)
    assert quiet.passed
    assert 1e-10 < quiet.noise < 1e-7
    loud = check_gradient(lambda x: (x * x + 1e-2 * generator.normal(), [2 * x]), 0.5)
    assert not loud.passed
    assert loud.coordinates[0].verdict == "undecided"
    assert any("scatters" in note for note in loud.notes)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_fails_and_says_so(bad):
    check = check_gradient(lambda x, y: (bad, (1.0, 2.0)), AT)
    assert not check.passed
    assert {line.verdict for line in check.coordinates} == {"FAIL"}
    assert f"the value at the point is {bad}" in str(check)
    assert "nan" not in check.message.lower()


def test_a_gradient_that_is_not_finite_fails_and_says_so():
    check = check_gradient(lambda x, y: (x * y, (y, math.nan)), AT)
    assert not check.passed
    assert [line.verdict for line in check.coordinates] == ["pass", "FAIL"]
    assert "analytic gradient is not finite" in str(check)


def test_the_end_of_the_domain_leaves_one_sided_differences():
    def half(x):
        return (math.exp(x) if x >= 0 else math.nan), [math.exp(x)]

    check = check_gradient(half, 0.0)
    assert check.passed
    assert check.coordinates[0].stencil == "right"


def test_no_values_around_the_point_fails():
    check = check_gradient(lambda x: (1.0, [0.0]) if x == 0.5 else (math.nan, [0.0]), 0.5)
    assert not check.passed
    assert "no finite values around" in str(check)
