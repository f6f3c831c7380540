"""The path from pairs: against a dense solution, outliers, what is not linked."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.path import solve

C = np.array([[1.0, 0.3], [0.3, 0.5]]) * 0.05**2


def made(count, lags=(1, 2, 4), seed=0, noise=True):
    """Return pairs, their displacements with noise of covariance C, and the true path."""
    rng = np.random.default_rng(seed)
    true = np.cumsum(rng.normal(0, 1, (count, 2)), axis=0)
    true -= true[0]
    pairs = np.array([(i, i + lag) for lag in lags for i in range(count - lag)], np.int64).reshape(-1, 2)
    moves = true[pairs[:, 1]] - true[pairs[:, 0]]
    if noise:
        moves = moves + rng.normal(0, 1, moves.shape) @ np.linalg.cholesky(C).T
    return pairs, moves, np.tile(C, (len(pairs), 1, 1)), true


def dense(pairs, moves, covariances, count):
    """Return the weighted least squares path and its covariances by one large system."""
    rows, right = [], []
    for (i, j), move, covariance in zip(pairs, moves, covariances, strict=True):
        white = np.linalg.inv(np.linalg.cholesky(covariance))
        row = np.zeros((2, 2 * count))
        row[:, 2 * j : 2 * j + 2], row[:, 2 * i : 2 * i + 2] = white, -white
        rows.append(row[:, 2:])
        right.append(white @ move)
    A = np.concatenate(rows)
    return np.linalg.lstsq(A, np.concatenate(right), rcond=None)[0].reshape(-1, 2), np.linalg.inv(A.T @ A)


def test_without_noise_the_path_is_exact():
    pairs, moves, covariances, true = made(23, noise=False)
    found = solve(pairs, moves, covariances, 23)
    np.testing.assert_allclose(found.positions, true, atol=1e-6)


@pytest.mark.parametrize("lags", [(1,), (1, 2), (1, 3, 7)])
def test_it_is_the_weighted_least_squares_solution(lags):
    pairs, moves, covariances, _ = made(40, lags, seed=3)
    found = solve(pairs, moves, covariances, 40)
    places, inverse = dense(pairs, moves, covariances, 40)
    # robust weights take a little from everybody
    assert np.abs(found.positions[1:] - places).max() < 0.05
    for n in range(1, 40):
        own = inverse[2 * n - 2 : 2 * n, 2 * n - 2 : 2 * n]
        ratio = found.covariances[n] / own
        assert ((ratio > 0.9) & (ratio < 2.0)).all(), n
    assert (found.covariances[0] == 0).all()


def test_the_anchor_lies_at_zero():
    pairs, moves, covariances, true = made(30, noise=False)
    found = solve(pairs, moves, covariances, 30, anchor=11)
    np.testing.assert_allclose(found.positions, true - true[11], atol=1e-6)


def test_pairs_that_went_wrong_are_outvoted():
    pairs, moves, covariances, true = made(200, seed=1)
    wrong = np.random.default_rng(5).random(len(pairs)) < 0.05
    moves[wrong] += 10
    found = solve(pairs, moves, covariances, 200)
    assert np.abs(found.positions - true).max() < 1
    assert found.weights[wrong].max() < 0.01
    assert np.median(found.weights[~wrong]) > 0.8


def test_more_lags_tell_more():
    errors = []
    for lags in ((1,), (1, 2, 4, 8)):
        ends = []
        for seed in range(20):
            pairs, moves, covariances, true = made(100, lags, seed=seed)
            ends.append(solve(pairs, moves, covariances, 100).positions[-1] - true[-1])
        errors.append(np.std(ends))
    assert errors[1] < 0.7 * errors[0]


def test_what_no_pair_links_has_no_position():
    pairs, moves, covariances, true = made(20, noise=False)
    use = ~((pairs[:, 0] < 9) & (pairs[:, 1] >= 9))
    found = solve(pairs[use], moves[use], covariances[use], 20)
    np.testing.assert_allclose(found.positions[:9], true[:9], atol=1e-6)
    assert np.isnan(found.positions[9:]).all()
    assert np.isinf(found.covariances[9:]).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_paths(count):
    pairs, moves, covariances, true = made(count, (1,), noise=False)
    np.testing.assert_allclose(solve(pairs, moves, covariances, count).positions, true, atol=1e-6)
