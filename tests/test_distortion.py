"""What a field of displacements looks like: exact fields, the rates of false alarms, the truth of the error bars."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from alignment.distortion import LEAST, chi2_quantile, distortion, normal_quantile, t_quantile

X, Y = (values.ravel() for values in np.meshgrid(np.linspace(50, 950, 4), np.linspace(60, 540, 4)))
PLACES = np.stack([X, Y], axis=1)
CENTRE = PLACES.mean(axis=0)


def field(M, t=(0.0, 0.0), places=PLACES):
    """Return t + M (x - c)."""
    return np.asarray(t) + (places - CENTRE) @ np.asarray(M).T


def bars(sigma=0.02, seed=None, count=16):
    """Return covariances: round ones, or long ones in any direction."""
    if seed is None:
        return np.tile(sigma**2 * np.eye(2), (count, 1, 1))
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi, count)
    turns = np.stack([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    return turns @ (sigma**2 * rng.uniform(0.3, 3, (count, 2, 1)) * np.eye(2)) @ turns.transpose(0, 2, 1)


def noisy(displacements, covariances, rng):
    return displacements + np.einsum(
        "nij,nj->ni", np.linalg.cholesky(covariances), rng.normal(size=(len(covariances), 2))
    )


ROTATION = [[0.0, -1.0], [1.0, 0.0]]
FIRST, SECOND = [[1.0, 0.0], [0.0, -1.0]], [[0.0, 1.0], [1.0, 0.0]]


def test_figures_of_exact_fields():
    M = 2e-3 * np.array(ROTATION) - 1e-3 * np.eye(2) + 5e-4 * np.array(FIRST) + 3e-4 * np.array(SECOND)
    found = distortion(PLACES, field(M, (0.4, -0.3)), bars(seed=1))
    assert found.rotation == pytest.approx(np.degrees(2e-3), rel=1e-9)
    assert found.scale == pytest.approx(1 - 1e-3, abs=1e-12)
    assert found.shear == pytest.approx((5e-4, 3e-4), rel=1e-9)
    assert found.offset == pytest.approx((0.4, -0.3), rel=1e-9)
    assert found.chi2 == pytest.approx(0, abs=1e-9)
    assert found.leftover == 0
    assert not found.differs.any()


@pytest.mark.parametrize(
    ("M", "kind"),
    [
        (np.zeros((2, 2)), "translation"),
        (1e-3 * np.array(ROTATION), "rotation"),
        (-1e-3 * np.eye(2), "scale"),
        (1e-3 * np.array(FIRST), "shear"),
        (1e-3 * np.array(SECOND), "shear"),
        (1e-3 * np.array(ROTATION) + 1e-3 * np.eye(2), "rotation and scale"),
    ],
)
def test_the_name_of_what_it_looks_like(M, kind):
    rng = np.random.default_rng(5)
    covariances = bars(seed=2)
    found = distortion(PLACES, noisy(field(M, (0.1, 0.2)), covariances, rng), covariances)
    assert found.kind == kind
    for word in kind.split(" and "):
        assert word in found.message or kind == "translation"


def test_false_alarms_are_rare_and_figures_scatter_as_their_errors_say():
    rng = np.random.default_rng(0)
    covariances = bars(seed=3)
    every = [distortion(PLACES, noisy(field(np.zeros((2, 2))), covariances, rng), covariances) for _ in range(400)]
    # each of several tests errs once in a thousand times
    assert sum(found.kind != "translation" for found in every) <= 4
    z = np.array([[f.rotation / f.rotation_stderr, (f.scale - 1) / f.scale_stderr] for f in every])
    # the errors are widened where the residuals are large, so that they are a little too long on average
    assert (np.sqrt(np.mean(z**2, axis=0)) > 0.8).all()
    assert (np.sqrt(np.mean(z**2, axis=0)) < 1.1).all()
    assert np.mean([f.chi2 for f in every]) == pytest.approx(every[0].freedom, rel=0.1)
    assert np.mean([f.chi2_translation for f in every]) == pytest.approx(every[0].freedom_translation, rel=0.1)


def test_motion_of_parts_is_named_and_measured():
    rng = np.random.default_rng(1)
    covariances = bars(0.02)
    found = distortion(PLACES, noisy(rng.normal(0, 0.3, PLACES.shape), covariances, rng), covariances)
    assert found.kind == "local motion"
    assert "only its mean" in found.message
    # of the 32 numbers six are fitted away
    assert found.leftover == pytest.approx(0.3 * np.sqrt(2), rel=0.35)


def test_one_place_that_moved_does_not_bend_the_fit():
    rng = np.random.default_rng(2)
    covariances = bars(0.01)
    measured = noisy(field(1e-3 * np.array(ROTATION)), covariances, rng)
    measured[5] += (1.5, -0.8)
    found = distortion(PLACES, measured, covariances)
    assert found.kind == "rotation and local motion"
    assert found.rotation == pytest.approx(np.degrees(1e-3), rel=0.03)
    assert np.flatnonzero(found.differs).tolist() == [5]
    assert "1 of 16 places" in found.message


def test_error_bars_that_are_too_short_do_not_make_a_rotation():
    rng = np.random.default_rng(3)
    measured = noisy(field(np.zeros((2, 2))), bars(0.3), rng)
    found = distortion(PLACES, measured, bars(0.03))
    assert found.kind == "local motion"
    assert abs(found.rotation) < 4 * found.rotation_stderr


def test_what_is_too_small_to_matter_is_not_named():
    found = distortion(PLACES, field(1e-5 * np.array(ROTATION)), bars(1e-4))
    assert found.kind == "translation"
    assert "to 0.02 px" in found.message


def test_measurements_over_areas_know_where_they_were_taken():
    rng = np.random.default_rng(4)
    M = 1.5e-3 * np.array(ROTATION) + 4e-4 * np.eye(2)
    # each area has structure of its own for dx and for dy: means of x and of y over them, from the middle
    levers = rng.normal(0, 40, (len(PLACES), 2, 2, 2))
    measured = field(M) + np.einsum("naij,ja->ni", levers, M)
    exact = distortion(PLACES, measured, bars(0.01), levers)
    assert exact.chi2 == pytest.approx(0, abs=1e-9)
    assert exact.rotation == pytest.approx(np.degrees(1.5e-3), rel=1e-9)
    assert distortion(PLACES, measured, bars(0.01)).chi2 > 50


@pytest.mark.parametrize(
    ("places", "why"),
    [
        (PLACES[: LEAST - 1], "only 4 places tell"),
        (PLACES[:1], "only 1 place tells"),
        (PLACES[:0], "only 0 places tell"),
        (np.stack([np.linspace(0, 100, 8), np.full(8, 7.0)], axis=1), "on one line"),
    ],
)
def test_too_few_places_are_said_to_be(places, why):
    found = distortion(places, np.zeros(places.shape), bars(count=len(places)))
    assert found.kind == "unknown"
    assert why in found.message
    assert found.to_dict()["rotation"] is None
    assert found.to_dict()["shear"] == [None, None]


def test_quantiles():
    for p in (0.5, 0.95, 0.999):
        assert normal_quantile(p) == pytest.approx(stats.norm.ppf(p), abs=1e-9)
        for freedom in (4, 10, 30, 100):
            assert chi2_quantile(p, freedom) == pytest.approx(stats.chi2.ppf(p, freedom), rel=0.02)
            assert t_quantile(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=0.03)
