"""Common mistakes, planted and called by their names."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.gradcheck import check_gradient

from .gradients import AT, quadratic, smooth, spoilt, three


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


def test_mistakes_are_named_at_kinks_too():
    def ramps(x, y):
        return 2 * abs(x) + x + 3 * abs(y), (3.0, 3.0 if y >= 0 else -3.0)

    check = check_gradient(spoilt(ramps, lambda g: 50 * g), (0.0, 0.0))
    assert "common factor of 50" in check.mistakes[0]
