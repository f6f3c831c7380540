"""The step rules by hand, the loop on functions whose minimum is known, and everything that a result says."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from alignment import _kernels, descent
from alignment._checks import InputError
from alignment.descent import TRACE, Adam, GradientDescent, minimise
from alignment.losses import MSE, NCC

LOSSES = {"mse": MSE, "ncc": NCC}


class Bowl:
    """(dx - 1)^2 + 2 (dy + 2)^2, a frame of 8 x 6 pixels."""

    pixels_per_unit = (4.0, 3.0)

    def value_and_gradient(self, dx, dy):
        return (dx - 1) ** 2 + 2 * (dy + 2) ** 2, np.array([2 * (dx - 1), 4 * (dy + 2)])


class KnowingBowl(Bowl):
    """The same, and its Hessian."""

    def hessian(self, dx, dy):
        return np.diag([2.0, 4.0])


class Rosenbrock:
    """(1 - dx)^2 + 100 (dy - dx^2)^2: a curved valley, its minimum at (1, 1)."""

    def value_and_gradient(self, dx, dy):
        value = (1 - dx) ** 2 + 100 * (dy - dx**2) ** 2
        return value, np.array([-2 * (1 - dx) - 400 * dx * (dy - dx**2), 200 * (dy - dx**2)])

    def hessian(self, dx, dy):
        return np.array([[2 - 400 * (dy - 3 * dx**2), -400 * dx], [-400 * dx, 200.0]])


class Slope:
    """A plane: the gradient is the same everywhere."""

    def __init__(self, x, y):
        self.gradient = np.array([x, y], float)

    def value_and_gradient(self, dx, dy):
        return float(self.gradient @ [dx, dy]), self.gradient


class Cliff(Bowl):
    """A bowl that has no value to the left of `edge`, beyond which it speaks as an objective does."""

    def __init__(self, edge):
        self.edge = edge

    def value_and_gradient(self, dx, dy):
        if dx < self.edge:
            raise InputError("the masks leave no pixel")
        return super().value_and_gradient(dx, dy)


def steps_of(rule, gradients):
    """Return the steps that a rule takes for a sequence of gradients."""
    state, taken = rule.initial_state(), []
    for gradient in gradients:
        step, state = rule.update(state, np.array(gradient, float))
        taken.append(step)
    return np.array(taken)


# --- the rules -----------------------------------------------------------------------------------------------------


def test_gradient_descent_by_hand():
    steps = steps_of(GradientDescent(0.5), [(2, -4), (1, 0), (-3, 8)])
    np.testing.assert_array_equal(steps, [(-1, 2), (-0.5, 0), (1.5, -4)])


def test_momentum_by_hand():
    # v = 0.5 v - 0.25 g
    steps = steps_of(GradientDescent(0.25, momentum=0.5), [(4, -8), (4, 0), (0, 0)])
    np.testing.assert_array_equal(steps, [(-1, 2), (-1.5, 1), (-0.75, 0.5)])


def test_adam_by_hand():
    """With beta1 = beta2 = 1/2, as fractions: m, v and their corrections written out for two steps."""
    rule = Adam(0.5, beta1=0.5, beta2=0.5, epsilon=1e-300)
    # t = 1: m = 1, v = 2, corrected by 1/2: 2 and 4; t = 2: m = -1/2, v = 3, corrected by 3/4: -2/3 and 4
    steps = steps_of(rule, [(2, 2), (-2, -2)])
    np.testing.assert_allclose(steps[:, 0], [-0.5 * 2 / 2, 0.5 * (2 / 3) / 2], rtol=1e-15)
    np.testing.assert_array_equal(steps[:, 0], steps[:, 1])
    # two different decays: t = 2: m = (0.25 g1 + 0.5 g2) / 0.75, v = (0.1875 g1^2 + 0.25 g2^2) / 0.4375
    uneven = steps_of(Adam(1.0, beta1=0.5, beta2=0.75, epsilon=1e-300), [(1, 1), (3, 3)])
    expected = ((0.25 + 1.5) / 0.75) / np.sqrt((0.1875 + 2.25) / 0.4375)
    np.testing.assert_allclose(uneven[1], -expected, rtol=1e-15)


def test_adams_epsilon_stands_outside_the_root():
    step = steps_of(Adam(1.0, epsilon=1.0), [(3, -1)])[0]
    np.testing.assert_allclose(step, (-3 / 4, 1 / 2), rtol=1e-14)


def test_adam_does_not_see_the_size_of_the_gradient():
    gradients = np.random.default_rng(0).normal(size=(20, 2))
    small, large = (steps_of(Adam(0.1, epsilon=1e-300), scale * gradients) for scale in (1e-6, 1e6))
    np.testing.assert_allclose(small, large, rtol=1e-12)
    np.testing.assert_allclose(np.abs(small[0]), 0.1, rtol=1e-12)


def test_rules_keep_no_state_of_their_own():
    rule = Adam(0.1)
    first = steps_of(rule, [(1, 2), (3, -1)])
    np.testing.assert_array_equal(steps_of(rule, [(1, 2), (3, -1)]), first)
    moving = GradientDescent(0.1, momentum=0.9)
    np.testing.assert_array_equal(steps_of(moving, [(1, 2), (3, 1)]), steps_of(moving, [(1, 2), (3, 1)]))


def test_newton_finds_the_bottom_of_a_quadratic_in_one_step():
    result = minimise(KnowingBowl(), descent.Newton(max_step=100.0), steps=1)
    assert (result.dx, result.dy, result.loss) == (1, -2, 0)


def test_newton_steps_no_further_than_it_may():
    result = minimise(KnowingBowl(), descent.Newton(max_step=0.5), steps=1)
    # along (1, -2)
    assert np.hypot(result.dx, result.dy) == pytest.approx(0.5, rel=1e-14)
    assert result.dy == pytest.approx(-2 * result.dx, rel=1e-14)


def test_newton_walks_down_where_the_surface_is_a_saddle():
    rule = descent.Newton(max_step=100.0)
    step, _ = rule.update(rule.initial_state(), np.array([2.0, 3.0]), 0.0, np.diag([4.0, -6.0]))
    np.testing.assert_allclose(step, (-0.5, -0.5), rtol=1e-14)


def test_newton_takes_half_of_a_step_back_that_led_up():
    rule = descent.Newton(max_step=100.0)
    step, state = rule.update(rule.initial_state(), np.array([2.0, 0.0]), 1.0, np.eye(2))
    back, state = rule.update(state, np.array([9.0, 9.0]), 1.5, np.eye(2))
    np.testing.assert_array_equal(back, -step / 2)
    # still above: half of the rest; below: on from here
    again, state = rule.update(state, np.array([9.0, 9.0]), 1.1, np.eye(2))
    np.testing.assert_array_equal(again, -step / 4)
    onwards, _ = rule.update(state, np.array([0.0, 4.0]), 0.9, np.eye(2))
    np.testing.assert_allclose(onwards, (0, -4), atol=1e-15)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: GradientDescent(0), r"learning_rate is 0; give a number above 0"),
        (lambda: GradientDescent(-0.1), r"learning_rate is -0\.1; give a number above 0"),
        (lambda: GradientDescent("fast"), r"learning_rate is 'fast'; give a finite number"),
        (lambda: GradientDescent(0.1, momentum=1), r"momentum is 1; give a number from 0 up to, but not including, 1"),
        (lambda: GradientDescent(0.1, momentum=-0.5), r"momentum is -0\.5; give a number from 0"),
        (lambda: Adam(float("nan")), r"learning_rate is nan; give a finite number"),
        (lambda: Adam(0.1, beta1=1.0), r"beta1 is 1; give a number from 0 up to, but not including, 1"),
        (lambda: Adam(0.1, beta2=-1), r"beta2 is -1; give a number from 0 up to, but not including, 1"),
        (lambda: Adam(0.1, epsilon=0), r"epsilon is 0; give a number above 0"),
        (lambda: descent.Newton(0), r"max_step is 0; give a number above 0"),
    ],
)
def test_rules_check_their_numbers(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


# --- the loop ------------------------------------------------------------------------------------------------------


def test_a_quadratic_shrinks_by_a_known_factor():
    """Each coordinate of a quadratic is multiplied by 1 - rate * curvature at each step."""
    trace = minimise(Bowl(), GradientDescent(0.1), start=(3, 1), steps=12).trace
    k = np.arange(13)
    np.testing.assert_allclose(trace["dx"], 1 + 2 * 0.8**k, rtol=1e-13)
    np.testing.assert_allclose(trace["dy"], -2 + 3 * 0.6**k, rtol=1e-13)
    np.testing.assert_allclose(trace["loss"], 4 * 0.8 ** (2 * k) + 18 * 0.6 ** (2 * k), rtol=1e-12)
    np.testing.assert_allclose(trace["grad_dx"], 4 * 0.8**k, rtol=1e-12)
    np.testing.assert_allclose(trace["grad_dy"], 12 * 0.6**k, rtol=1e-12)


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        (GradientDescent(0.001, momentum=0.95), 6000),
        (Adam(0.02), 6000),
        (descent.Newton(max_step=1.0), 200),
    ],
)
def test_rosenbrocks_valley(rule, steps):
    result = minimise(Rosenbrock(), rule, start=(-1.2, 1), steps=steps)
    assert (result.dx, result.dy) == pytest.approx((1, 1), abs=1e-4)
    assert result.loss < 1e-8


@pytest.mark.parametrize("rate", [0.001, 0.1])
@pytest.mark.parametrize("steps", [1, 30, 100])
def test_adam_travels_at_most_steps_times_its_learning_rate(rate, steps):
    """Along each axis. On a plane it does so exactly, up to epsilon.

    In general a step is rate * m_hat / sqrt(v_hat), and by Cauchy-Schwarz that ratio is at most 1 only where both
    means weight the past alike. With the usual decays a sudden large gradient can make single steps longer, up to
    (1 - beta1) / sqrt(1 - beta2), about 3.2 rates; as a bound on a whole descent steps times rate is the rule of thumb
    that it is called in the text, and images, whose gradient fades on the way, obey it.
    """
    far = minimise(Slope(-250, 1e-3), Adam(rate), steps=steps)
    assert far.dx == pytest.approx(steps * rate, rel=1e-6)
    assert far.dy == pytest.approx(-steps * rate, rel=1e-4)
    bowl = minimise(Bowl(), Adam(rate), start=(40, 40), steps=steps)
    travelled = np.abs(np.diff([bowl.trace["dx"], bowl.trace["dy"]])).sum(axis=1)
    assert (travelled <= steps * rate * (1 + 1e-12)).all()
    assert (travelled > 0.9 * steps * rate).all()


def test_a_sudden_gradient_makes_a_longer_step():
    """The exception that makes the bound approximate: 3.2 rates in one step, and never more."""
    longest = np.abs(steps_of(Adam(1.0), [(0, 0)] * 5000 + [(1, 1)])).max()
    assert longest == pytest.approx(0.1 / np.sqrt(0.001), rel=0.01)


def test_normalised_units_are_pixels_with_another_rate():
    """dx = dx_n W / 2 and dL/ddx_n = (W / 2) dL/ddx: gradient descent sees the rate times (W / 2)^2, Adam W / 2."""
    obj, rate = Bowl(), 0.01
    normalised = minimise(obj, GradientDescent(rate, momentum=0.5), steps=10, units="normalised").trace
    for name, scale in (("dx", 4), ("dy", 3)):
        pixels = minimise(obj, GradientDescent(rate * scale**2, momentum=0.5), steps=10).trace
        np.testing.assert_allclose(normalised[name], pixels[name], rtol=1e-13)
    one = minimise(obj, Adam(rate, epsilon=1e-300), steps=1, units="normalised").trace
    np.testing.assert_allclose((one["dx"][1], one["dy"][1]), (4 * rate, -3 * rate), rtol=1e-13)
    # the trace stays in pixels, gradients included
    first = normalised[0]
    assert (first["grad_dx"], first["grad_dy"]) == (-2, 8)


def test_newton_does_not_see_the_units():
    pixels = minimise(KnowingBowl(), descent.Newton(max_step=100.0), steps=1)
    normalised = minimise(KnowingBowl(), descent.Newton(max_step=100.0), steps=1, units="normalised")
    assert (normalised.dx, normalised.dy) == pytest.approx((pixels.dx, pixels.dy), rel=1e-14)


def test_the_trace_holds_the_start_and_every_step():
    seen = []
    result = minimise(
        Bowl(), GradientDescent(0.1), start=(2, 3), steps=4, callback=lambda *now: seen.append(now) or "ignored"
    )
    assert result.trace.dtype.names == ("step", "dx", "dy", "loss", "grad_dx", "grad_dy")
    assert result.trace.dtype == descent.TRACE
    assert result.trace["step"].tolist() == [0, 1, 2, 3, 4]
    assert result.trace[0].tolist() == (0, 2, 3, 51, 2, 20)
    assert [tuple(row) for row in result.trace[["step", "dx", "dy", "loss"]].tolist()] == seen
    assert all(isinstance(number, float) for row in seen for number in row[1:])
    last = result.trace[-1]
    assert (result.dx, result.dy, result.loss) == (last["dx"], last["dy"], last["loss"])
    assert type(result.dx) is type(result.dy) is type(result.loss) is float


def test_the_start_alone():
    result = minimise(Bowl(), GradientDescent(0.1), start=(2, 3), steps=0)
    assert (result.dx, result.dy, len(result.trace), result.status) == (2, 3, 1, "completed")


def test_without_a_tolerance_all_steps_are_taken():
    result = minimise(Bowl(), GradientDescent(0.25), start=(1, -2), steps=7)
    assert len(result.trace) == 8
    assert (result.status, result.success) == ("completed", True)
    assert "took all 7 steps; no tolerance was given" in result.message


def test_a_tolerance_stops_at_the_first_shorter_step():
    result = minimise(Bowl(), GradientDescent(0.1), start=(3, -2), steps=100, tolerance=0.01)
    # the k-th step is 0.4 * 0.8^(k - 1) long
    assert len(result.trace) - 1 == 1 + int(np.ceil(np.log(0.01 / 0.4) / np.log(0.8)))
    lengths = np.hypot(np.diff(result.trace["dx"]), np.diff(result.trace["dy"]))
    assert lengths[-1] < 0.01 <= lengths[-2]
    assert (result.status, result.success) == ("converged", True)
    assert "was shorter than 0.01 px" in result.message


def test_a_tolerance_counts_pixels_in_either_unit():
    result = minimise(Bowl(), GradientDescent(0.1 / 16), start=(3, -2), steps=100, tolerance=0.01, units="normalised")
    pixels = minimise(Bowl(), GradientDescent(0.1), start=(3, -2), steps=100, tolerance=0.01)
    assert len(result.trace) == len(pixels.trace)


def test_too_few_steps_for_the_tolerance():
    result = minimise(Bowl(), GradientDescent(0.1), steps=3, tolerance=1e-6)
    assert (result.status, result.success, len(result.trace)) == ("steps used up", False, 4)
    assert "took all 3 steps without one shorter than 1e-06 px; give more steps" in result.message


def test_a_small_learning_rate_is_not_taken_for_the_minimum():
    """Where the objective knows its Hessian a short step alone does not count."""
    slow = minimise(KnowingBowl(), GradientDescent(1e-6), steps=5, tolerance=1e-3)
    assert (slow.status, slow.success) == ("steps used up", False)
    assert minimise(Bowl(), GradientDescent(1e-6), steps=5, tolerance=1e-3).status == "converged"
    assert minimise(KnowingBowl(), GradientDescent(0.2), steps=100, tolerance=1e-3).status == "converged"


@pytest.mark.parametrize("tolerance", [None, 1e-6])
def test_ending_above_the_start_is_divergence(tolerance):
    result = minimise(Bowl(), GradientDescent(0.6), steps=20, tolerance=tolerance)
    assert (result.status, result.success) == ("diverged", False)
    assert "give a smaller learning rate" in result.message
    assert result.loss > result.trace["loss"][0]


@pytest.mark.parametrize("what", ["value", "gradient"])
def test_what_is_not_finite_ends_the_descent(what):
    class Broken(Bowl):
        def value_and_gradient(self, dx, dy):
            value, gradient = super().value_and_gradient(dx, dy)
            if dx > 0.5:
                return (np.nan, gradient) if what == "value" else (value, gradient * np.inf)
            return value, gradient

    result = minimise(Broken(), GradientDescent(0.2), steps=20, tolerance=1e-9)
    assert (result.status, result.success, len(result.trace)) == ("diverged", False, 3)
    assert re.search("not finite,? after 2 steps", result.message)


def test_a_step_to_where_there_is_no_value():
    result = minimise(Cliff(-4), GradientDescent(2.0), start=(3, -2), steps=9)
    assert (result.status, result.success) == ("undefined", False)
    # the last place that had a value, and the sentence of the objective
    assert (result.dx, result.dy, result.loss, len(result.trace)) == (3, -2, 4, 1)
    assert "step 1 led to (-5, -2) px, where the masks leave no pixel; give a smaller learning rate" in result.message


def test_a_start_without_a_value_is_the_callers_error():
    with pytest.raises(InputError, match="the masks leave no pixel"):
        minimise(Cliff(5), GradientDescent(0.1))


def test_errors_of_the_callback_are_not_swallowed():
    def stop(*now):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimise(Bowl(), GradientDescent(0.1), callback=stop)


def test_a_result_prints_as_one_line():
    line = str(minimise(Bowl(), GradientDescent(0.2), steps=100, tolerance=1e-6))
    assert line.startswith("(+1.0000, -2.0000) px, loss ")
    assert ": converged: step " in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"start": (1,)}, r"start is \(1,\); give two numbers \(dx, dy\) in pixels"),
        ({"start": "ab"}, r"start is 'ab'; give two numbers"),
        ({"start": 3}, r"start is 3; give two numbers"),
        ({"start": (0, float("inf"))}, r"start\[1\] is inf; give a finite number"),
        ({"steps": -1}, r"steps is -1; give a whole number of at least 0"),
        ({"steps": 2.0}, r"steps is 2\.0; give a whole number of at least 0"),
        ({"tolerance": 0}, r"tolerance is 0; give a number above 0"),
        ({"units": "mm"}, r"units is 'mm'; give one of 'pixels', 'normalised'"),
    ],
)
def test_arguments_are_checked(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        minimise(Bowl(), GradientDescent(0.1), **arguments)


def test_normalised_units_need_the_size_of_the_frame():
    with pytest.raises(
        InputError, match=r"units is 'normalised' but the objective has no pixels_per_unit; give units="
    ):
        minimise(Slope(1, 1), GradientDescent(0.1), units="normalised")


def test_a_descent_through_images(objective, scene):
    """All parts together: the published loop finds the place where a smooth image was taken from."""
    y, x = np.mgrid[0:24, 0:30].astype(float)

    def view(dx, dy):
        return np.sin((x - dx) / 4) * np.cos((y - dy) / 5) + 0.3 * np.sin((x - dx + 2 * (y - dy)) / 7)

    for loss in ("mse", "ncc"):
        made = objective(loss, view(0, 0), view(1.3, -0.8), domain=(4, 20, 4, 26))
        result = minimise(made, Adam(0.1), steps=150)
        assert (result.dx, result.dy) == pytest.approx((1.3, -0.8), abs=0.02)
        assert result.success


class Plain:
    """An objective that shows nothing but values and slopes, so that a descent asks its rule for every step."""

    def __init__(self, wrapped):
        self.value_and_gradient = wrapped.value_and_gradient
        self.hessian = wrapped.hessian
        self.pixels_per_unit = wrapped.pixels_per_unit


class Slower(GradientDescent):
    """Not the law of its base class."""

    def update(self, state, gradient):
        step, state = super().update(state, gradient)
        return step / 2, state


def waves(shift=0.0):
    y, x = np.mgrid[0:24, 0:30].astype(float)
    x, y = x - shift, y + shift / 2
    return np.sin(x / 4) * np.cos(y / 5) + 0.3 * np.sin(x + y / 2)


@pytest.mark.parametrize("side", ["right", "left", "central"])
@pytest.mark.parametrize("loss", ["mse", "ncc"])
@pytest.mark.parametrize(
    ("rule", "units"),
    [
        (GradientDescent(2.0), "pixels"),
        (GradientDescent(0.5, momentum=0.8), "pixels"),
        (Adam(0.05), "pixels"),
        (Adam(0.01, beta1=0.7, beta2=0.9, epsilon=1e-3), "normalised"),
        (Slower(4.0), "pixels"),
    ],
)
def test_steps_within_a_cell_are_those_of_the_rule(rule, units, loss, side):
    """Compiled code walks through the cells; it walks where the rule, asked step by step, would."""
    made = LOSSES[loss](waves(), waves(1.6), domain=(4, 20, 4, 26), side=side)
    start = (-1.0, 0.5)  # on a border between cells
    by_cells, by_steps = (minimise(obj, rule, start=start, steps=60, units=units) for obj in (made, Plain(made)))
    for name in TRACE.names:
        np.testing.assert_allclose(by_cells.trace[name], by_steps.trace[name], rtol=1e-7, atol=1e-8, err_msg=name)
    assert by_cells.status == by_steps.status
    assert len({(math.floor(dx), math.floor(dy)) for dx, dy in by_cells.trace[["dx", "dy"]].tolist()}) > 1


def test_steps_within_a_cell_stop_at_the_tolerance():
    made = MSE(waves(), waves(0.6), domain=(4, 20, 4, 26))
    by_cells, by_steps = (minimise(obj, GradientDescent(2.0), steps=900, tolerance=1e-5) for obj in (made, Plain(made)))
    assert by_cells.status == by_steps.status == "converged"
    assert len(by_cells.trace) == len(by_steps.trace) > 5
    assert (by_cells.dx, by_cells.dy) == pytest.approx((by_steps.dx, by_steps.dy), abs=1e-9)


def test_a_callback_changes_no_step(objective):
    made, seen = objective("ncc", waves(), waves(1.6), domain=(4, 20, 4, 26)), []
    watched = minimise(made, Adam(0.1), steps=40, callback=lambda *row: seen.append(row))
    alone = minimise(made, Adam(0.1), steps=40)
    np.testing.assert_array_equal(watched.trace, alone.trace)
    assert seen == watched.trace[["step", "dx", "dy", "loss"]].tolist()


def test_a_walk_counts_its_evaluations_and_hardly_any_pass():
    made = MSE(waves(), waves(0.6), domain=(4, 20, 4, 26))
    minimise(made, GradientDescent(1e-3), start=(0.5, -0.5), steps=3000)
    assert made.evaluations == 3001
    assert made.passes == 1


def test_a_step_to_where_the_correlation_is_undefined_leaves_the_cell():
    """Half way between the columns of a comb, whose mean is the same everywhere."""
    made = NCC(waves(), np.tile([1.0, -1.0], (24, 15)), domain=(4, 20, 4, 26))
    for slope, expected in ((-0.2, (1, False)), (-0.25, (0, True))):
        place, rows = np.array([0.25, 0.5, slope, 0.0, np.inf]), np.empty((1, 5))
        found = made.descend_in_cell(place, GradientDescent(1.0).law(), np.zeros(5), np.ones(2), rows, 0.0)
        assert found == expected
        assert place[0] == 0.25 - slope


def test_a_short_step_out_of_a_cell_is_the_last_only_when_it_has_been_evaluated():
    class Brief(Bowl):
        evaluation = "cells"

        def descend_in_cell(self, place, law, memory, scale, rows, tolerance):
            rows[0] = (0.5, 0.0, 9.0, -1.0, 8.0)  # a long step, and a short one over the border
            place[:] = (1.0, 0.0, np.nan, np.nan, 1e-9)
            return 1, True

    result = minimise(Brief(), GradientDescent(0.1), steps=9, tolerance=1e-6)
    assert result.status == "converged"
    assert result.trace["dx"].tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("side", "onto", "stays"),
    [("right", 1, False), ("right", 0, True), ("left", 1, True), ("left", 0, False), ("central", 1, False),
     ("central", 0, False)],
)  # fmt: skip
def test_a_border_belongs_to_the_cell_that_its_slope_is_read_from(side, onto, stays, axis):
    made = MSE(waves(), waves(0.6), domain=(4, 20, 4, 26), side=side)
    place = np.array([0.5, 0.5, 0.0, 0.0, np.inf])
    place[2 + axis] = 0.5 - onto
    rows = np.empty((1, 5))
    found = made.descend_in_cell(place, GradientDescent(1.0).law(), np.zeros(5), np.ones(2), rows, 0.0)
    assert place[axis] == onto
    assert found == ((1, False) if stays else (0, True))
    if stays:
        value, slope = made.value_and_gradient(*place[:2])
        np.testing.assert_allclose(rows[0], [*place[:2], value, *slope], rtol=1e-12)


@pytest.mark.parametrize(("spread", "floor", "expected"), [(0.0, -np.inf, (1, False)), (1.0, 1e-9, (0, True))])
def test_what_is_only_rounding_is_no_error_and_no_variance(spread, floor, expected):
    form = np.zeros((5, 5))
    form[0, 0] = -1e-18 if spread == 0 else 1e-12
    cell, rows = (np.zeros((3, 3)), form, spread, floor), np.full((1, 5), np.nan)
    place = np.array([0.5, 0.5, 0.0, 0.0, np.inf])
    steps = _kernels.descend_in_cell(
        cell, (0.0, 0.0, True, False), False, np.ones(4), np.zeros(5), place, (1.0, 1.0), 0.0, rows
    )
    assert steps == expected
    assert spread or rows[0, 2] == 0


def test_a_walk_into_a_cell_where_the_correlation_is_undefined_says_so():
    """Left of its last columns the moving image is flat."""
    moving = np.where(np.arange(30) < 24, 5.0, waves())
    made = NCC(waves(), moving, domain=(4, 20, 20, 26))
    for obj in (made, Plain(made)):
        result = minimise(obj, GradientDescent(1e9), start=(-1.5, 0.5), steps=5)
        assert result.status == "undefined"
        assert "step 1 led to" in result.message


def test_looking_beyond_the_last_step_is_no_error():
    class Brink(Slope):
        def value_and_gradient(self, dx, dy):
            if dx > 0.0005:
                raise InputError("the masks leave no pixel")
            return super().value_and_gradient(dx, dy)

        def hessian(self, dx, dy):
            return np.eye(2)

    assert minimise(Brink(-1, 0), GradientDescent(1e-6), steps=3, tolerance=1e-3).status in (
        "converged",
        "steps used up",
    )
