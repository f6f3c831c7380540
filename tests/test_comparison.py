"""Which of several attempts is believed, and what is made of parts that contradict each other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alignment import register

from .scenes import scene


@pytest.mark.parametrize("features", ["auto", "intensity"])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_of_a_scene_that_moves_in_part_most_of_the_frame_has_the_last_word(features, seed):
    """The part that moves by itself has four times the contrast, and the correlation stands out at its displacement."""
    still, away = (3.25, -2.5), (-9.0, 6.0)
    x = np.arange(160)
    here, there = x < 110, x < 110 + away[0]
    B = np.where(here, scene((128, 160), seed=seed), 4 * scene((128, 160), seed=seed + 50))
    A = np.where(there, scene((128, 160), *still, seed=seed), 4 * scene((128, 160), *away, seed=seed + 50))
    found = register(B, A, features=features)
    assert math.dist((found.dx, found.dy), still) < 0.2
    assert found.status == "ambiguous"
    assert "(-9, 6) px" in found.message
    assert math.dist(found.runner_up[:2], away) < 0.2
