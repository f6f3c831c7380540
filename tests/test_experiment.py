"""The published experiment: how a plate is cut, which slopes the program took, and what bounds its travel."""

from __future__ import annotations

import numpy as np
import pytest

import alignment as al
from alignment import InputError
from alignment.experiment import KINDS, AsProgrammed, published_exposures, rounds_down, run

losses = pytest.mark.parametrize("loss", sorted(KINDS))


@pytest.fixture(scope="module")
def pair():
    """Return a noisy pair of an awkward size."""
    return tuple(al.datasets.shifted_pair(2.4, -1.3, shape=(61, 75), noise=0.03, seed=4))


def plate_with_paper(top, bottom, left, right, shape=(200, 120)):
    """Return a dark plate on bright paper."""
    plate = np.full(shape, 0.95)
    plate[top:bottom, left:right] = 0.2
    return plate


def test_the_cut_drops_the_last_row_and_column_and_is_in_thirds():
    plate = plate_with_paper(10, 190, 8, 113)
    # 0.1 is the cube of 0.464: rows and columns are dark enough on the whole, though paper lies at their ends
    cut = published_exposures(plate)
    assert list(cut) == ["blue", "green", "red"]
    assert cut["blue"] == (10, 69, 8, 112)  # rows 10 to 189, the last one dropped, leave 179, 59 each
    assert cut["green"] == (69, 128, 8, 112)
    assert cut["red"] == (128, 187, 8, 112)


def test_the_limit_is_on_the_cube_of_the_mean():
    plate = np.full((200, 120), 0.1 ** (1 / 3) - 1e-3)
    assert published_exposures(plate)["blue"] == (0, 66, 0, 119)
    with pytest.raises(InputError, match="as the published program cuts"):
        published_exposures(plate + 2e-3)


def test_integers_count_by_their_range():
    plate = plate_with_paper(10, 190, 8, 113)
    assert published_exposures(np.rint(255 * plate).astype(np.uint8)) == published_exposures(plate)


@losses
def test_off_the_integers_it_is_the_objective_itself(pair, loss):
    ours, plain = AsProgrammed(*pair, loss=loss), KINDS[loss](*pair, evaluation="direct")
    for at in [(0.3, -0.2), (-1.7, 2.1)]:
        value, gradient = ours.value_and_gradient(*at)
        assert value == plain.value_and_gradient(*at)[0]
        np.testing.assert_array_equal(gradient, plain.value_and_gradient(*at)[1])


@losses
@pytest.mark.parametrize("at", [(0.0, 0.0), (2.0, -1.0), (1.0, 0.5), (0.5, 0.0)])
def test_where_nothing_rounds_down_the_slopes_are_those_on_the_right(pair, loss, at, monkeypatch):
    monkeypatch.setattr("alignment.experiment.rounds_down", lambda length, _: np.zeros(length, bool))
    gradient = AsProgrammed(*pair, loss=loss).value_and_gradient(*at)[1]
    np.testing.assert_allclose(gradient, KINDS[loss](*pair).value_and_gradient(*at)[1], rtol=1e-9, atol=1e-12)


@losses
@pytest.mark.parametrize("at", [(0.0, 0.0), (-1.0, 3.0)])
def test_where_all_round_down_the_slopes_are_those_on_the_left(pair, loss, at, monkeypatch):
    monkeypatch.setattr("alignment.experiment.rounds_down", lambda length, _: np.ones(length, bool))
    gradient = AsProgrammed(*pair, loss=loss).value_and_gradient(*at)[1]
    left = KINDS[loss](*pair, side="left").value_and_gradient(*at)[1]
    np.testing.assert_allclose(gradient, left, rtol=1e-9, atol=1e-12)


def test_columns_take_the_slope_along_x_and_rows_that_along_y(pair, monkeypatch):
    reference, moving = pair
    marked = {75: np.arange(75) % 3 == 0, 61: np.arange(61) < 20}
    monkeypatch.setattr("alignment.experiment.rounds_down", lambda length, _: marked[length])
    gradient = AsProgrammed(reference, moving, loss="mse").value_and_gradient(0.0, 0.0)[1]
    wide = np.pad(moving, 1)
    right, left = wide[1:-1, 2:] - moving, moving - wide[1:-1, :-2]
    below, above = wide[2:, 1:-1] - moving, moving - wide[:-2, 1:-1]
    e = moving - reference
    expected = [
        2 * np.mean(e * np.where(marked[75][np.newaxis, :], left, right)),
        2 * np.mean(e * np.where(marked[61][:, np.newaxis], above, below)),
    ]
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


def test_what_comes_back_may_be_changed(pair):
    objective = AsProgrammed(*pair, loss="ncc")
    first = objective.value_and_gradient(0.0, 0.0)[1]
    kept = first.copy()
    first *= 0
    np.testing.assert_array_equal(objective.value_and_gradient(0.0, 0.0)[1], kept)


def test_as_many_round_down_as_in_the_program():
    """Counted in torch, on the sizes of the published plates; which they are is compared where torch is installed."""
    counts = {332: 44, 333: 83, 335: 62, 374: 69, 375: 62, 378: 53, 64: 0}
    assert {length: int(rounds_down(length, 0.0).sum()) for length in counts} == counts


def test_only_integers_are_on_the_edge_of_a_cell():
    assert rounds_down(375, 0.0).any()
    assert not rounds_down(375, 0.25).any()


@losses
def test_adam_travels_no_further_than_its_reach(pair, loss):
    objective = AsProgrammed(*pair, loss=loss)
    for rate, steps in ((0.001, 30), (0.01, 5)):
        made = run(objective, method="program", loss=loss, learning_rate=rate, steps=steps)
        assert made.reach == pytest.approx((75 / 2 * rate * steps, 61 / 2 * rate * steps))
        trace = made.descent.trace
        assert len(trace) == steps + 1
        # the first step has the length of the learning rate along each axis
        assert abs(trace["dx"][1]) == pytest.approx(rate * 75 / 2, rel=1e-4)
        assert abs(trace["dy"][1]) == pytest.approx(rate * 61 / 2, rel=1e-4)
        assert np.abs(trace["dx"]).max() <= 1.05 * made.reach[0]
        assert np.abs(trace["dy"]).max() <= 1.05 * made.reach[1]


def test_plain_descent_steps_by_the_gradient_and_has_no_bound(pair):
    objective = AsProgrammed(*pair, loss="ncc")
    made = run(objective, method="text", loss="ncc", learning_rate=1e-3, steps=1)
    gradient = objective.value_and_gradient(0.0, 0.0)[1]
    expected = -1e-3 * np.array([75 / 2, 61 / 2]) ** 2 * gradient
    np.testing.assert_allclose([made.descent.dx, made.descent.dy], expected, rtol=1e-12)
    assert made.reach == (np.inf, np.inf)


@pytest.mark.parametrize("wrong", [{"method": "sgd"}, {"steps": 0}, {"learning_rate": 0.0}, {"repeats": 0}])
def test_wrong_arguments_are_refused(pair, wrong):
    right = {"method": "program", "loss": "ncc", "learning_rate": 0.01, "steps": 2}
    with pytest.raises(InputError):
        run(AsProgrammed(*pair, loss="ncc"), **{**right, **wrong})
