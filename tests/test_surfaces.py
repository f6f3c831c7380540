"""Grids of displacements and the minima of what is sampled on them."""

from __future__ import annotations

import numpy as np
import pytest

import alignment as al
from alignment import InputError
from alignment.surfaces import grid, local_minima, surface


def test_a_grid_holds_its_edges_and_every_integer_exactly():
    across, down = grid((-3, 4, -1, 2), 0.1)
    assert (across[0], across[-1], down[0], down[-1]) == (-3, 4, -1, 2)
    assert (len(across), len(down)) == (71, 31)
    assert set(range(-3, 5)) <= set(across.tolist())
    np.testing.assert_allclose(np.diff(across), 0.1, atol=1e-9)


@pytest.mark.parametrize(
    ("region", "step"),
    [((1, 1, 0, 2), 0.1), ((0, 2, 3, 1), 0.1), ((0, 1, 0, 1), 0), ((0, 1, 0, 1), 0.6), ((0, 1, 0, 1), -1)],
)
def test_what_is_no_grid_is_refused(region, step):
    with pytest.raises(InputError, match=r"^(region|step) is "):
        grid(region, step)


def test_the_surface_is_the_loss_at_each_point_with_dy_down_the_rows():
    objective = al.MSE(*al.datasets.shifted_pair(0.7, -0.4, shape=(30, 40)))
    dx, dy = np.array([-0.5, 0.0, 1.25]), np.array([0.5, -1.0])
    values = surface(objective, dx, dy)
    expected = [[objective.value(u, v) for u in dx] for v in dy]
    np.testing.assert_allclose(values, expected, rtol=1e-12)

    class Plain:
        def value_and_gradient(self, u, v):
            return objective.value(u, v), np.zeros(2)

    np.testing.assert_allclose(surface(Plain(), dx, dy), expected, rtol=1e-12)


def test_local_minima_are_those_of_a_plain_search():
    rng = np.random.default_rng(1)
    for shape in ((3, 3), (7, 11), (20, 20)):
        values = rng.random(shape)
        expected = np.zeros(shape, bool)
        for i in range(1, shape[0] - 1):
            for j in range(1, shape[1] - 1):
                around = values[i - 1 : i + 2, j - 1 : j + 2].copy()
                around[1, 1] = np.inf
                expected[i, j] = values[i, j] < around.min()
        np.testing.assert_array_equal(local_minima(values), expected)
    assert not local_minima(np.zeros((5, 5))).any()
    assert local_minima(np.zeros((2, 9))).shape == (2, 9)
