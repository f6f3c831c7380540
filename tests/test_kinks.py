"""Kinks beside a point: found where they are, and none found where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alignment.differences import Function
from alignment.gradcheck import check_gradient
from alignment.kinks import find_kink


def test_a_kink_beside_the_point_is_found_and_only_limits_the_steps():
    check = check_gradient(lambda x: (abs(x - 1e-3) + math.exp(x), [np.sign(x - 1e-3) + math.exp(x)]), 0.1e-3)
    assert check.passed
    (kink,) = check.kinks
    assert kink.side == "away"
    assert kink.distance == pytest.approx(0.9e-3, rel=1e-4)
    assert kink.right - kink.left == pytest.approx(2.0, rel=0.01)
    assert check.best_step[0] < 2e-3
    assert "steps across it were left out" in str(check)


@pytest.mark.parametrize("place", [0.011, 0.0237, 0.0499])
def test_a_jump_is_placed_between_two_distances(place):
    bent = Function(lambda x: (2 * abs(x - place) + math.exp(x), [0.0]), np.zeros(1))
    jump = find_kink(bent, np.ones(1), 0.01, 0.05, 1e-16)
    assert jump.distance == pytest.approx(place, rel=1e-4)
    assert jump.left == pytest.approx(math.exp(place) - 2, abs=1e-3)
    assert jump.right == pytest.approx(math.exp(place) + 2, abs=1e-3)


@pytest.mark.parametrize("smooth", [math.exp, math.sin, lambda x: 7 * x, lambda x: 1e3 * x**3])
def test_a_smooth_line_has_no_jump(smooth):
    assert find_kink(Function(lambda x: (smooth(x), [0.0]), np.zeros(1)), np.ones(1), 0.01, 0.05, 1e-16) is None
