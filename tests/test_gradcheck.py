"""The checker checked: planted errors are caught and named, right gradients pass, and both are explained."""

import functools
import json
import math
import re

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment import differences, gradcheck
from alignment._checks import InputError
from alignment.gradcheck import GradientCheck, check_gradient

matplotlib.use("Agg")

# ------------------------------------------------------------------------------------------------------
# Functions with known gradients


def quadratic(x, y):
    """Quadratic along every line, as a bilinear MSE is along each axis of a cell."""
    return 3 * x * x - 2 * x * y + 0.7 * y * y + x - 5, (6 * x - 2 * y + 1, -2 * x + 1.4 * y)


def smooth(x, y):
    wave, growth = math.sin(2 * y), math.exp(0.3 * x)
    return growth * wave + x * y, (0.3 * growth * wave + y, 2 * growth * math.cos(2 * y) + x)


def three(x, y, z):
    return x * math.exp(y) + z**3, (math.exp(y), x * math.exp(y), 3 * z * z)


class Bilinear:
    """The interpolated signal at x + dx, its loss against a reference, and the one-sided slopes at integers."""

    def __init__(self, side="right"):
        generator = np.random.default_rng(7)
        self.moving, self.reference = generator.random(64), generator.random(40)
        self.side = side

    def __call__(self, dx):
        cell = math.floor(dx)
        if self.side == "left" and cell == dx:
            cell -= 1
        fraction = dx - cell
        here, there = self.moving[10 + cell : 50 + cell], self.moving[11 + cell : 51 + cell]
        residual = (1 - fraction) * here + fraction * there - self.reference
        return float(np.mean(residual**2)), [2 * float(np.mean(residual * (there - here)))]


def spoilt(function, spoil):
    """Return the function with its gradient changed on the way out."""

    @functools.wraps(function)
    def wrong(*point):
        value, gradient = function(*point)
        return value, spoil(np.array(gradient, dtype=float))

    return wrong


AT = (0.37, -1.21)

# ------------------------------------------------------------------------------------------------------
# Right gradients


def test_thirteen_digits_on_a_quadratic_and_the_order_is_exact():
    check = check_gradient(quadratic, AT)
    assert check.passed
    assert (check.digits >= 13).all()
    assert np.isposinf(check.order).all()
    assert "exact" in str(check)


def test_rounding_alone_grows_as_the_step_shrinks():
    check = check_gradient(lambda x: (x * x / 3 + 0.1 * x, [2 * x / 3 + 0.1]), 0.7)
    steps, errors = check.steps[0], check.errors[0]
    assert errors[:4].max() < 1e-14
    assert errors[-4:].max() > 1e-10
    assert (errors <= 1e-15 / steps + 1e-14).all()


def test_a_smooth_function_falls_with_order_two_and_agrees_to_twelve_digits():
    check = check_gradient(smooth, AT)
    assert check.passed
    assert (check.digits >= 12).all()
    np.testing.assert_allclose(check.order, 2.0, atol=0.1)


def random_problem(generator):
    """Draw a sum of terms of every kind, in one to five arguments, at every scale; return (function, point)."""
    n = int(generator.integers(1, 6))
    reach = generator.choice([0.0, 1.0, 1.0, 1e3], n)
    at = reach * generator.uniform(-1, 1, n)
    size = np.maximum(1.0, np.abs(at))
    scale = 10.0 ** generator.choice([-9.0, -3.0, 0.0, 3.0, 6.0])
    offset = scale * generator.choice([0.0, 1.0, 1e4])
    kinds = ["cube", "exp", "wave", "ripple", "product", "valley", "log", "bell"]
    terms = [
        (str(generator.choice(kinds)), *map(int, generator.integers(0, n, 2)), generator.normal(), w)
        for w in generator.uniform(0.2, 2.0, int(generator.integers(1, 6)))
    ]

    def function(*x):
        value, gradient = offset, [0.0] * n
        for kind, i, j, weight, w in terms:
            c = weight * scale
            t = (x[i] - at[i]) / size[i]
            if kind == "cube":
                v, d = c * (x[i] / size[i]) ** 3, 3 * c * (x[i] / size[i]) ** 2 / size[i]
            elif kind == "exp":
                v, d = c * math.exp(w * t), c * w * math.exp(w * t) / size[i]
            elif kind == "wave":
                v, d = c * math.sin(w * x[i]), c * w * math.cos(w * x[i])
            elif kind == "ripple":
                v, d = c * math.cos(20 * w * x[i]), -20 * c * w * math.sin(20 * w * x[i])
            elif kind == "product":
                v, d = c * x[i] * x[j], c * x[j]
                gradient[j] += c * x[i]
            elif kind == "valley":  # its gradient is exactly zero at the point
                v, d = c * t * t, 2 * c * t / size[i]
            elif kind == "log":  # not defined everywhere
                v, d = c * math.log(t + w), c / (t + w) / size[i]
            else:
                v, d = c / (1 + w * t * t), -2 * c * w * t / (1 + w * t * t) ** 2 / size[i]
            value += v
            gradient[i] += d
        return value, gradient

    return function, at


@pytest.mark.parametrize("batch", range(10))
def test_right_gradients_of_a_thousand_random_problems_are_never_rejected(batch):
    for seed in range(100 * batch, 100 * batch + 100):
        function, at = random_problem(np.random.default_rng(seed))
        check = check_gradient(function, at, seed=seed, directions=1)
        assert check.passed, f"problem {seed}\n{check}"
        assert not any(kink.side != "away" for kink in check.kinks), f"problem {seed}\n{check}"


def test_an_error_of_a_thousandth_in_one_component_is_caught_on_random_problems():
    caught = tried = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        function, at = random_problem(generator)
        gradient = np.array(function(*at)[1])
        i = int(np.argmax(np.abs(gradient)))
        if gradient[i] == 0.0:
            continue
        factor = np.where(np.arange(at.size) == i, 1.001, 1.0)
        check = check_gradient(spoilt(function, lambda g, factor=factor: g * factor), at, directions=0)
        tried += 1
        caught += not check.passed
    assert tried > 60
    assert caught == tried


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.floats(-1e3, 1e3), st.sampled_from([1e-9, 1.0, 1e6]))
def test_polynomials_pass_at_any_scale(coefficients, x, scale):
    a, b, c = (scale * k for k in coefficients)
    assert check_gradient(lambda t: (a + (b + c * t) * t, [b + 2 * c * t]), x).passed


def test_constant_function_and_unused_argument_pass():
    assert check_gradient(lambda x, y: (5.0, (0.0, 0.0)), AT).passed
    assert check_gradient(lambda x, y: (0.0, (0.0, 0.0)), AT).passed
    check = check_gradient(lambda x, y: (math.exp(x), (math.exp(x), 0.0)), AT)
    assert check.passed
    assert check.numeric[1] == 0.0


def test_components_of_very_different_size_are_each_verified():
    def steep(x, y):
        return 1e6 * math.sin(x) + 1e-3 * math.cos(y), np.array([1e6 * math.cos(x), -1e-3 * math.sin(y)])

    assert check_gradient(steep, (0.4, 0.9)).passed
    check = check_gradient(spoilt(steep, lambda g: g * [1.0, 1.001]), (0.4, 0.9))
    assert not check.passed
    assert check.coordinates[1].verdict == "FAIL"


def test_a_stationary_point_passes_but_says_what_it_cannot_show():
    check = check_gradient(lambda x, y: (x * x + y * y, (2 * x, 2 * y)), (0.0, 0.0))
    assert check.passed
    assert any("vanishes" in note for note in check.notes)


# ------------------------------------------------------------------------------------------------------
# Planted errors, and their names


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda g: -g, "wrong sign"),
        (lambda g: g * [1, -1], "wrong sign in y"),
        (lambda g: g[::-1], "swapped coordinates: x and y"),
        (lambda g: -g[::-1], "swapped coordinates: x and y are exchanged, and the wrong sign"),
        (lambda g: 2 * g, "factor of 2 too many"),
        (lambda g: g / 2, "factor of 2 missing"),
        (lambda g: -2 * g, "wrong sign and a factor of 2"),
        (lambda g: 340 * g, "common factor of 340: 340 times too large, as when the 1/N"),
        (lambda g: g / 340, "340 times too small"),
        (lambda g: 1.001 * g, "common factor of 1.001"),
        (lambda g: g * [200, 170.5], "per-axis factors (200, 170.5), as when mixing pixels and normalised"),
        (lambda g: g / [200, 170.5], "per-axis factors (0.005, "),
        (lambda g: g * [0, 1], "zero in x though the value changes"),
        (lambda g: g * [1.001, 1], "only x disagrees (factor: x by 1.001)"),
        (lambda g: g * [1, 1 + 1e-6], "only y disagrees"),
        (lambda g: np.add(g, [0, 1e-7]), "only y disagrees"),
    ],
)
@pytest.mark.parametrize("function", [quadratic, smooth])
def test_planted_errors_fail_and_are_named(function, spoil, name):
    check = check_gradient(spoilt(function, spoil), AT)
    assert not check.passed
    assert any(name in mistake for mistake in check.mistakes), check.mistakes
    assert any(name in line for line in str(check).splitlines() if line.startswith("likely mistake"))


@pytest.mark.parametrize(
    ("factor", "name"),
    [
        (400 * 341, "N, as when 1/N is missing"),
        (1 / (400 * 341), "1/N, as when 1/N is applied twice"),
        (2 * 400 * 341, "2 N"),
        (-400 * 341, "-N"),
        ([200, 170.5], "x: W/2, as when 1/(W/2) is missing"),
        ([1, 170.5], "y: H/2"),
    ],
)
def test_factors_are_called_by_the_names_given(factor, name):
    scales = {"N": 400 * 341, "W/2": 200, "H/2": 170.5}
    check = check_gradient(spoilt(smooth, lambda g: g * factor), AT, scales=scales)
    assert name in check.mistakes[0]


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda g: g[::-1], "swapped coordinates: x and z are exchanged"),
        (lambda g: g[[1, 0, 2]], "swapped coordinates: x and y are exchanged"),
        (lambda g: g[[1, 2, 0]], "order ['y', 'z', 'x']"),
        (lambda g: 7 * g, "7 times too large"),
    ],
)
def test_three_arguments_in_the_wrong_order(spoil, name):
    check = check_gradient(spoilt(three, spoil), (0.4, 0.2, 0.7))
    assert not check.passed
    assert name in check.mistakes[0]


def test_four_arguments_in_reversed_order():
    def four(a, b, c, d):
        return a + 2 * b + 3 * c * c + 4 * d**3, (1, 2, 6 * c, 12 * d * d)

    check = check_gradient(spoilt(four, lambda g: g[::-1]), (0.1, 0.2, 0.7, 1.1))
    assert "reversed order" in check.mistakes[0]


def test_a_small_error_shows_as_a_plateau_even_where_a_loose_tolerance_would_let_it_pass():
    assert not check_gradient(spoilt(smooth, lambda g: g + 1e-9), AT, tolerance=0.1).passed
    check = check_gradient(spoilt(smooth, lambda g: g + 1e-6), AT, tolerance=0.1)
    assert not check.passed
    assert "levels off" in str(check)
    assert (np.abs(check.order) < 0.2).all()


@pytest.mark.parametrize("relative", [1e-3, 1e-6, 1e-9, 1e-11])
def test_the_smallest_relative_error_that_is_caught(relative):
    assert not check_gradient(spoilt(smooth, lambda g: g * [1 + relative, 1]), AT).passed


def judged(right, left, rounding):
    """Return a judge of a slope of 1, and a line whose one-sided differences are these at every step."""
    steps = np.geomspace(1.0, 1e-7, 8)
    judge = gradcheck._Judge(differences.Function(lambda x: (x, [1.0]), np.zeros(1)), 5e-4, False, 0.0)
    kinds = {"central": (right + left) / 2, "right": right, "left": left}
    sides = {
        side: differences.Differences(np.full(8, slope), np.ones(8), np.full(8, rounding), 1)
        for side, slope in kinds.items()
    }
    sweep = differences.Sweep(steps, sides, np.ones(8), np.ones(8), 0.0, 0.0, "")
    return judge, gradcheck._Line("x", np.ones(1), sweep, 1.0, 0.0)


def test_a_plateau_within_reach_of_the_floor_fails_by_its_order():
    judge, line = judged(right=1 + 7e-9, left=1 + 7e-9, rounding=1e-12)
    slope = differences.Slope(1 + 7e-9, 1e-9, 0, np.full(8, 1e-9))
    check = judge._compare(line, slope, "central")
    assert (check.verdict, check.reason[:22]) == ("FAIL", "the error levels off a")
    assert "(order 0.00) before rounding" in check.reason or "(order -0.00) before rounding" in check.reason


@pytest.mark.parametrize(("central", "kink"), [(1.0, False), (1.5, True)])
def test_slopes_too_coarse_to_bend_make_a_kink_only_if_the_central_one_is_no_answer(central, kink):
    judge, line = judged(right=2.0, left=0.0, rounding=1.0)
    right, left, middle = (differences.Slope(value, 1e-9, 0, np.full(8, 1e-9)) for value in (2.0, 0.0, central))
    assert judge._is_kink(line, middle, right, left) is kink


def test_an_error_that_only_a_direction_would_mix_is_caught_along_directions_too():
    check = check_gradient(spoilt(smooth, lambda g: np.add(g, [1e-4, 0])), AT)
    assert [line.verdict for line in check.directions] == ["FAIL"] * 3


@pytest.mark.parametrize("radius", [0.0, 1e-8, 1e-3])
@pytest.mark.parametrize("error", [1.0, 1e-3, 1e-6])
def test_a_gradient_wrong_at_the_point_alone_is_caught(radius, error):
    """As the published indicator is at integers: right everywhere around, which must not whitewash it."""

    def trap(x):
        return math.sin(x), [math.cos(x) + error * (abs(x - 0.5) <= radius)]

    assert not check_gradient(trap, 0.5).passed


def test_a_noisy_gradient_is_noted():
    generator = np.random.default_rng(3)
    check = check_gradient(lambda x: (math.sin(x), [math.cos(x) + 1e-8 * generator.normal()]), 0.5)
    assert any("analytic gradient scatters" in note for note in check.notes)


# ------------------------------------------------------------------------------------------------------
# Kinks


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


def test_a_kink_beside_the_point_is_found_and_only_limits_the_steps():
    check = check_gradient(lambda x: (abs(x - 1e-3) + math.exp(x), [np.sign(x - 1e-3) + math.exp(x)]), 0.1e-3)
    assert check.passed
    (kink,) = check.kinks
    assert kink.side == "away"
    assert kink.distance == pytest.approx(0.9e-3, rel=1e-4)
    assert kink.right - kink.left == pytest.approx(2.0, rel=0.01)
    assert check.best_step[0] < 2e-3
    assert "steps across it were left out" in str(check)


def test_random_directions_at_a_corner_go_where_the_gradient_looks():
    def corner(x, y):
        return 2 * abs(x) + abs(y) + x * y + y, ((2.0 if x >= 0 else -2.0) + y, (1.0 if y > 0 else -1.0) + x + 1)

    check = check_gradient(corner, (0.0, 0.0))
    assert check.passed
    assert [kink.side for kink in check.kinks] == ["right", "left"]
    assert all(line.direction[0] > 0 > line.direction[1] for line in check.directions)
    assert not check_gradient(spoilt(corner, lambda g: 1.001 * g), (0.0, 0.0)).passed


def test_mistakes_are_named_at_kinks_too():
    def ramps(x, y):
        return 2 * abs(x) + x + 3 * abs(y), (3.0, 3.0 if y >= 0 else -3.0)

    check = check_gradient(spoilt(ramps, lambda g: 50 * g), (0.0, 0.0))
    assert "common factor of 50" in check.mistakes[0]


# ------------------------------------------------------------------------------------------------------
# Missing digits, missing values


def test_a_float32_value_lowers_the_digits_and_is_explained():
    check = check_gradient(lambda x, y: (np.float32(smooth(x, y)[0]), smooth(x, y)[1]), AT)
    assert check.passed
    assert (check.floor > 1e-8).all()
    assert any("float32" in note and "float64" in note for note in check.notes)
    planted = check_gradient(lambda x, y: (np.float32(smooth(x, y)[0]), np.multiply(smooth(x, y)[1], [1.001, 1.0])), AT)
    assert not planted.passed


def test_a_value_rounded_to_float32_on_the_way_is_recognised_by_its_digits():
    check = check_gradient(lambda x, y: (float(np.float32(smooth(x, y)[0])), smooth(x, y)[1]), AT)
    assert any("float32" in note for note in check.notes)


def test_a_value_rounded_to_decimals_is_recognised():
    check = check_gradient(lambda x, y: (round(smooth(x, y)[0], 8), smooth(x, y)[1]), AT)
    assert any("8 decimal places" in note for note in check.notes)


def test_arguments_rounded_to_float32_are_explained():
    check = check_gradient(lambda x, y: smooth(float(np.float32(x)), float(np.float32(y))), AT)
    assert any("float32" in note for note in check.notes)
    assert (check.abs_error < 1e-5).all()


def test_a_float32_gradient_passes_with_a_note():
    check = check_gradient(lambda x, y: (smooth(x, y)[0], np.array(smooth(x, y)[1], dtype=np.float32)), AT)
    assert check.passed
    assert any("the gradient carries the digits of float32" in note for note in check.notes)


def test_arguments_arrive_as_float64():
    seen = set()

    def record(x):
        seen.add(type(x))
        return x * x, [2 * x]

    check_gradient(record, np.float32(0.5))
    assert seen == {float}


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


def test_steps_outside_the_domain_are_left_out():
    check = check_gradient(lambda x: (math.log(x), [1 / x]), 0.02)
    assert check.passed
    assert any("math domain error" in note for note in check.notes)
    assert check_gradient(lambda x: (float(np.exp(x)), [float(np.exp(x))]), 700.0).passed


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


# ------------------------------------------------------------------------------------------------------
# The door


def test_an_exception_at_the_point_passes_through_with_a_note():
    def broken(x):
        raise KeyError("no such image")

    with pytest.raises(KeyError) as caught:
        check_gradient(broken, 1.5)
    assert any("(1.5,)" in note for note in caught.value.__notes__)


def test_a_defect_away_from_the_point_is_not_swallowed():
    def broken(x):
        if x != 0.5:
            raise KeyError("defect")
        return 0.0, [0.0]

    with pytest.raises(KeyError, match="defect"):
        check_gradient(broken, 0.5)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (3.0, "must return a pair"),
        ((1.0, [1.0, 2.0, 3.0]), r"gradient has shape \(3,\)"),
        ((1.0, [[1.0, 2.0]]), r"gradient has shape \(1, 2\)"),
        ((1.0, 2.0), r"gradient has shape \(\)"),
        (([1.0, 2.0], [1.0, 2.0]), "value must be one number"),
        ((1j, [1.0, 2.0]), "real numbers"),
        ((None, [1.0, 2.0]), "real numbers"),
    ],
)
def test_wrong_answers_of_the_function(answer, sentence):
    with pytest.raises(InputError, match=sentence):
        check_gradient(lambda x, y: answer, AT)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"at": "here"}, "at is"),
        ({"at": ()}, "one finite number"),
        ({"at": (1.0, math.nan)}, "one finite number"),
        ({"at": ((1.0, 2.0),)}, "one finite number"),
        ({"steps": (0.1, 0.01)}, "four or more"),
        ({"steps": (1, 0.1, 0.01, -1)}, "four or more"),
        ({"steps": "small"}, "positive numbers"),
        ({"tolerance": 0.0}, "tolerance must lie"),
        ({"tolerance": math.nan}, "tolerance is nan; give a finite number"),
        ({"names": ("dx",)}, "one name for each"),
        ({"directions": -1}, "directions is -1"),
        ({"scales": {"N": 0}}, "the scale N is 0; give a number above 0"),
    ],
)
def test_wrong_arguments(options, sentence):
    with pytest.raises(InputError, match=sentence):
        check_gradient(quadratic, options.pop("at", AT), **options)


def test_the_result_of_a_call_is_not_a_function():
    with pytest.raises(InputError, match="pass the function itself"):
        check_gradient(quadratic(*AT), AT)


def test_a_number_will_do_for_one_argument_and_a_gradient_that_is_a_number():
    assert check_gradient(lambda x: (x**3, 3 * x * x), 0.5).passed


def test_a_gradient_written_into_the_same_buffer_each_time_is_copied():
    buffer = np.empty(2)

    def reuse(x, y):
        buffer[:] = smooth(x, y)[1]
        return smooth(x, y)[0], buffer

    assert check_gradient(reuse, AT).passed


def test_names_come_from_the_parameters_or_from_the_caller():
    assert [line.name for line in check_gradient(quadratic, AT).coordinates] == ["x", "y"]
    assert [line.name for line in check_gradient(lambda *p: (sum(p), (1, 1)), AT).coordinates] == ["x0", "x1"]
    assert [line.name for line in check_gradient(quadratic, AT, names=("dx", "dy")).coordinates] == ["dx", "dy"]


def test_a_function_that_does_not_tell_its_parameters_gets_numbered_ones():
    class Odd:
        __signature__ = "none"

        def __call__(self, x, y):
            return quadratic(x, y)

    check = check_gradient(Odd(), AT)
    assert check.passed
    assert [line.name for line in check.coordinates] == ["x0", "x1"]


def test_steps_of_the_caller_are_used_as_given():
    steps = np.geomspace(1e-6, 1e-1, 11)
    check = check_gradient(smooth, AT, steps=steps)
    assert check.passed
    np.testing.assert_array_equal(check.steps, np.tile(steps[::-1], (2, 1)))


def test_the_seed_draws_the_directions_and_is_printed():
    one, same, other = (check_gradient(smooth, AT, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.directions[0].direction, same.directions[0].direction)
    assert not np.array_equal(one.directions[0].direction, other.directions[0].direction)
    assert "seed 3" in str(one)


# ------------------------------------------------------------------------------------------------------
# The result


def test_the_result_is_true_through_passed_only():
    check = check_gradient(quadratic, AT)
    with pytest.raises(TypeError, match=r"\.passed"):
        bool(check)
    assert isinstance(check.passed, bool)


def test_raise_if_failed_carries_the_table():
    check_gradient(quadratic, AT).raise_if_failed()
    with pytest.raises(AssertionError, match="likely mistake: a common factor of -1: the wrong sign"):
        check_gradient(spoilt(quadratic, np.negative), AT).raise_if_failed()


def test_the_table_shows_every_line_and_the_rule():
    check = check_gradient(quadratic, AT)
    text = str(check)
    for word in ("analytic", "numeric", "abs error", "rel error", "step", "order", "verdict", "rule: pass if"):
        assert word in text
    assert len(re.findall(r"^(?:x|y|direction \d) .*pass$", text, re.MULTILINE)) == 5
    assert "passed" in repr(check)


@pytest.mark.parametrize(
    "function", [quadratic, smooth, lambda x, y: (math.nan, (0.0, math.inf)), lambda x, y: (abs(x), (0.3, 0.0))]
)
def test_to_dict_is_plain_json(function):
    check = check_gradient(function, (0.0, -1.21))
    plain = json.loads(json.dumps(check.to_dict(), allow_nan=False))
    assert plain["passed"] is check.passed
    assert len(plain["analytic"]) == len(plain["order"]) == len(plain["coordinates"]) == 2
    assert plain["message"] == check.message
    assert len(plain["errors"][0]) == len(plain["steps"][0])


def test_the_columns_have_one_entry_per_argument():
    check = check_gradient(three, (0.4, 0.2, 0.7))
    for name in ("analytic", "numeric", "abs_error", "rel_error", "order", "floor", "best_step", "digits"):
        assert getattr(check, name).shape == (3,)
    assert check.steps.shape == check.errors.shape == (3, 29)
    np.testing.assert_allclose(check.numeric, check.analytic, rtol=1e-11)


@pytest.mark.parametrize("function", [quadratic, smooth, lambda x, y: (math.nan, (1.0, 1.0))])
def test_the_plot_has_logarithmic_axes_guides_and_labels(function):
    check = check_gradient(function, AT)
    ax = check.plot()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert "step" in ax.get_xlabel()
    assert "analytic" in ax.get_ylabel()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0].startswith("x")
    if math.isfinite(check.value):
        assert {"slope 1", "slope 2"} <= set(labels)
    assert check.plot(ax) is ax
    import matplotlib.pyplot as plt

    plt.close(ax.figure)


def test_the_result_cannot_be_changed():
    check = check_gradient(quadratic, AT)
    with pytest.raises(AttributeError):
        check.passed = False
    assert isinstance(check, GradientCheck)
