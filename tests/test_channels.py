"""The channels of a plate: what is compared, of what the tiles are asked, and whether going round them ends well."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from alignment import InputError, channels, datasets, register
from alignment.channels import FEATURES, Channel, Matching, choose, closure, normalised, registered
from alignment.options import Options

from .results import PAIRS, registration

MOVES = {"red": (3.25, -1.5), "green": (0.0, 0.0), "blue": (-2.0, 4.75)}


@functools.cache
def three(shape=(110, 130)):
    """Return three views of one scene, displaced."""
    return {name: datasets.shifted_pair(dx, dy, shape=shape).moving for name, (dx, dy) in MOVES.items()}


def reaches(pixels=20.0):
    return dict.fromkeys(PAIRS, (pixels, pixels))


def watched(monkeypatch, refused=0):
    """Return a list that grows by the feature of each attempt of which the tiles are asked; they refuse the first."""
    honest, seen = Matching.asked, []

    def asked(self, found):
        seen.append(found.options["features"])
        judged = honest(self, found)
        return replace(judged, success=False, status="ambiguous") if len(seen) <= refused else judged

    monkeypatch.setattr(Matching, "asked", asked)
    return seen


def test_features_are_chosen_that_agree():
    right = dict(zip(PAIRS, [registration(3, -2), registration(-4, 1), registration(7, -3)], strict=True))
    tried = {
        pair: {"edges": registration(result.dx + 9 * n**2, result.dy - 7, 0.08), "intensity": result}
        for n, (pair, result) in enumerate(right.items(), 1)
    }
    assert set(choose(tried, 0.1).values()) == {"intensity"}
    failed = {p: {**t, "intensity": registration(0, 0, success=False)} for p, t in tried.items()}
    assert set(choose(failed, 0.1).values()) == {"edges"}
    same = {pair: {"edges": result, "intensity": result} for pair, result in right.items()}
    assert set(choose(same, 0.1).values()) == {"edges"}


def test_how_far_going_round_does_not_close():
    found = dict(zip(PAIRS, [registration(3, -2), registration(-4, 1), registration(6, -3)], strict=True))
    left, units = closure(found, 0.0)
    np.testing.assert_allclose(left, [1, 0])
    assert units == pytest.approx(1 / np.sqrt(3 * 0.1**2))
    assert closure(found, 1.0)[1] < 1


def test_local_normalisation_takes_light_and_contrast_away():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:120, 0:150]
    texture = rng.normal(0, 1, (120, 150))
    uneven = (0.5 + 0.004 * x + (0.02 + 0.001 * y) * texture).astype(np.float32)
    inside = np.s_[20:-20, 20:-20]
    plain, normal = (normalised(image.astype(np.float32))[inside] for image in (uneven, 3 - 0 * x + 0.1 * texture))
    assert np.corrcoef(plain.ravel(), normal.ravel())[0, 1] > 0.99
    assert np.isfinite(normalised(np.full((40, 50), 0.3, np.float32))).all()


def test_the_tiles_are_asked_of_what_is_chosen_only(monkeypatch):
    seen = watched(monkeypatch)
    registered(three(), reaches(), Options((1.0, 1.0)), 0.03)
    assert len(seen) == 3


def test_what_the_tiles_refuse_gives_way_to_another_feature(monkeypatch):
    seen = watched(monkeypatch, refused=1)
    found = registered(three(), reaches(), Options((1.0, 1.0)), 0.03)
    assert all(result.success for result in found.values())
    assert len(seen) >= 4


def test_of_a_given_feature_the_tiles_are_asked_too(monkeypatch):
    seen = watched(monkeypatch)
    registered(three(), reaches(), Options((1.0, 1.0), features="edges"), 0.03)
    assert seen == ["edges"] * 3


def test_edges_are_tried_again_where_more_of_them_are_seen(monkeypatch):
    """What was chosen at the coarse level has to hold against them at the finer one, on each pair."""
    honest, seen = channels.choose, {}

    def choosing(tried, warp):
        features = frozenset().union(*tried.values())
        seen[features] = warp
        return dict.fromkeys(tried, "intensity") if features == frozenset(FEATURES[1:]) else honest(tried, warp)

    monkeypatch.setattr(channels, "choose", choosing)
    large = {name: np.kron(image, np.ones((5, 5), image.dtype)) for name, image in three().items()}
    found = registered(large, reaches(100.0), Options((1.0, 1.0)), 0.03)
    assert seen == {frozenset(FEATURES[1:]): 0.015, frozenset(("intensity", "edges")): 0.03}
    assert all(result.success for result in found.values())
    assert abs(found[PAIRS[0]].dx - 5 * MOVES["red"][0]) <= 0.5


@pytest.mark.parametrize("shape", [(5, 30), (30, 7)])
def test_channels_that_are_too_small(shape):
    images = {name: np.zeros(shape, np.float32) for name in MOVES}
    with pytest.raises(InputError, match="at least 8 x 8 pixels"):
        registered(images, reaches(), Options((1.0, 1.0)), 0.03)


def test_a_pair_has_a_name():
    assert str(PAIRS[0]) == "red on green"


@pytest.mark.parametrize("features", FEATURES)
def test_three_views_of_one_scene(features):
    found = registered(three(), reaches(), Options((1.0, 1.0), features=features), 0.03)
    assert list(found) == list(PAIRS)
    for pair, result in found.items():
        want = np.subtract(MOVES[pair.moving], MOVES[pair.reference])
        assert result.success, result.message
        assert np.abs(np.subtract((result.dx, result.dy), want)).max() <= 0.1
        assert features in ("auto", result.options["features"])


@pytest.mark.parametrize("features", ["intensity", "fine", "edges"])
def test_an_attempt_is_that_of_register(features):
    images = three()
    matching = Matching(Channel(images["green"]), Channel(images["red"]), Options((20.0, 20.0), border=0.1))
    mine = matching.asked(matching.by(features))
    theirs = register(images["green"], images["red"], features=features, max_shift=20.0, border=0.1)
    assert (mine.dx, mine.dy, mine.status, mine.options) == (theirs.dx, theirs.dy, theirs.status, theirs.options)
    np.testing.assert_array_equal(mine.covariance, theirs.covariance)
