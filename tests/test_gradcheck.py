"""The checker checked: right gradients pass, planted errors are caught, and wrong arguments stop at the door."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment._checks import InputError
from alignment.gradcheck import check_gradient

from .gradients import AT, quadratic, smooth, spoilt


def test_thirteen_digits_on_a_quadratic_and_the_order_is_exact():
    check = check_gradient(quadratic, AT)
    assert check.passed
    assert (check.digits >= 13).all()
    assert np.isposinf(check.order).all()
    assert "exact" in str(check)


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


@pytest.mark.parametrize("relative", [1e-3, 1e-6, 1e-9, 1e-11])
def test_the_smallest_relative_error_that_is_caught(relative):
    assert not check_gradient(spoilt(smooth, lambda g: g * [1 + relative, 1]), AT).passed


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


def test_random_directions_at_a_corner_go_where_the_gradient_looks():
    def corner(x, y):
        return 2 * abs(x) + abs(y) + x * y + y, ((2.0 if x >= 0 else -2.0) + y, (1.0 if y > 0 else -1.0) + x + 1)

    check = check_gradient(corner, (0.0, 0.0))
    assert check.passed
    assert [kink.side for kink in check.kinks] == ["right", "left"]
    assert all(line.direction[0] > 0 > line.direction[1] for line in check.directions)
    assert not check_gradient(spoilt(corner, lambda g: 1.001 * g), (0.0, 0.0)).passed


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
