"""Remarks: what limits a check is said."""

from __future__ import annotations

import math

import numpy as np

from alignment.gradcheck import check_gradient


def test_a_stationary_point_passes_but_says_what_it_cannot_show():
    check = check_gradient(lambda x, y: (x * x + y * y, (2 * x, 2 * y)), (0.0, 0.0))
    assert check.passed
    assert any("vanishes" in note for note in check.notes)


def test_a_noisy_gradient_is_noted():
    generator = np.random.default_rng(3)
    check = check_gradient(lambda x: (math.sin(x), [math.cos(x) + 1e-8 * generator.normal()]), 0.5)
    assert any("analytic gradient scatters" in note for note in check.notes)


def test_one_sided_differences_are_mentioned_with_their_order():
    check = check_gradient(lambda x: ((math.exp(x) if x >= 0 else math.nan), [math.exp(x)]), 0.0)
    assert any("one-sided differences were used along x" in note for note in check.notes)


def test_the_verdict_says_how_many_digits_agree():
    check = check_gradient(lambda x, y: (x * x * y, (2 * x * y, x * x)), (0.3, 1.1))
    assert check.message.startswith("passed: ")
    assert f"agree to {min(line.digits for line in check.coordinates + check.directions):.1f} digits" in check.message
    wrong = check_gradient(lambda x, y: (x * x * y, (2 * x * y, -x * x)), (0.3, 1.1), directions=0)
    assert wrong.message == "FAILED along y"
