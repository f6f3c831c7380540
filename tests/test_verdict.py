"""The doubts, one at a time and in their order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alignment.rivals import Votes
from alignment.verdict import MESSAGES, Evidence, contested, direction, exactness, verdict

SOUND = Evidence(
    shape=(300, 400), ncc=0.9, hessian=np.diag([0.1, 0.2]), covariance=np.diag([1e-4, 2e-4]), score=15.0,
    ambiguity=0.3, runner_up=(40.0, -8.0, -0.3), strayed_from=None, arrived=True, beyond_bound=False, overlap=0.9,
    min_overlap=0.25, of_edges=False,
)  # fmt: skip

DOUBTS = [
    ("no correlation", {"score": 4.0, "ncc": 0.2, "covariance": np.diag([0.01, 0.01])}),
    ("flat", {"covariance": np.diag([1e-4, 1.0])}),
    ("flat", {"hessian": np.diag([1e-5, 0.2])}),
    ("flat", {"covariance": np.diag([np.inf, 1e-4])}),
    ("flat", {"ncc": 0.1, "covariance": np.diag([0.04, 0.04])}),
    ("ambiguous", {"ambiguity": 0.9}),
    ("local minimum", {"strayed_from": (12.0, 3.0)}),
    ("at bound", {"beyond_bound": True}),
    ("low overlap", {"overlap": 0.2}),
    ("not converged", {"arrived": False}),
]


def test_without_a_doubt_it_is_converged():
    assert verdict(SOUND) == ("converged", "converged")


@pytest.mark.parametrize(("status", "change"), DOUBTS)
def test_each_doubt_has_its_status_and_a_sentence(status, change):
    found, message = verdict(replace(SOUND, **change))
    assert found == status
    assert len(message.split()) > 8
    assert "{" not in message


def test_the_first_doubt_counts():
    order = [status for status in MESSAGES if status != "converged"]
    changes: dict = {}
    for status, change in reversed(DOUBTS):
        changes = {**change, **changes} if status == "no correlation" else {**changes, **change}
        assert verdict(replace(SOUND, **changes))[0] == status
    assert set(order) == {status for status, _ in DOUBTS}


def test_sentences_name_what_they_speak_of():
    assert "(40.0, -8.0) px" in verdict(replace(SOUND, ambiguity=0.9))[1]
    assert "(12, 3) px" in verdict(replace(SOUND, strayed_from=(12.0, 3.0)))[1]
    assert "along x" in verdict(replace(SOUND, hessian=np.diag([1e-9, 0.2])))[1]
    assert "only 20% of the frame" in verdict(replace(SOUND, overlap=0.2))[1]


def test_so_close_a_fit_is_its_own_evidence_but_edges_have_to_correlate_too():
    close = replace(SOUND, score=3.0, covariance=1e-10 * np.eye(2))
    assert verdict(close)[0] == "converged"
    assert verdict(replace(close, of_edges=True))[0] == "converged"
    assert verdict(replace(close, of_edges=True, ncc=0.7))[0] == "no correlation"
    assert verdict(replace(close, ncc=0.7))[0] == "converged"


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 120, 179])
def test_the_direction_is_that_of_least_curvature(angle):
    along = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    said = direction(np.eye(2) - 0.9 * np.outer(along, along))
    if min(angle, 180 - angle) < 15:
        assert said == "x"
    elif angle == 90:
        assert said == "y"
    else:
        assert said == f"{angle} degrees from x to y"


def test_exactness_is_the_correlation_in_units_of_its_own_uncertainty():
    assert exactness(0.5, np.diag([2.0, 1.0]), np.diag([1e-4, 1e-4])) == pytest.approx(50)
    assert exactness(-0.5, np.eye(2), np.eye(2)) == 0
    assert exactness(0.5, np.eye(2), np.full((2, 2), np.inf)) == 0


# --- what the parts of the frame say ----------------------------------------------------------------------------------

UNANIMOUS = Votes(agreeing=0.9, middle=40.0, chance=4.5, preferring=0.9)


def against(share, **change):
    return UNANIMOUS._replace(rival=(3.0, -2.0), against=share, **{"possible": share, **change})


def test_without_a_rival_nothing_is_contested():
    assert contested(UNANIMOUS) is None
    assert contested(against(0.09)) is None


@pytest.mark.parametrize(
    ("status", "votes"),
    [
        ("no correlation", UNANIMOUS._replace(middle=4.4)),
        ("ambiguous", against(0.3)),
        ("ambiguous", against(0.04, preferring=0.12, agreeing=0.5)),
        ("ambiguous", against(0.03, possible=0.05, preferring=0.1, agreeing=0.1)),
        ("ambiguous", against(0.12, possible=0.24)),
        ("ambiguous", UNANIMOUS._replace(better=0.0)),
        ("ambiguous", UNANIMOUS._replace(better=-1.9)),
    ],
)
def test_each_objection_has_its_status_and_a_sentence(status, votes):
    found, message = contested(votes)
    assert found == status
    assert len(message.split()) > 8
    assert "{" not in message


def test_a_blemish_is_left_alone_and_so_is_what_may_at_most_be_one():
    assert contested(against(0.19, preferring=0.8)) is None
    assert contested(against(0.01, preferring=0.1)) is None
    assert contested(against(0.03, preferring=0.1, agreeing=0.1)) is None
    assert contested(against(0.12, possible=0.19, preferring=0.8)) is None
    assert contested(UNANIMOUS._replace(better=-2.1)) is None
    assert contested(UNANIMOUS._replace(better=-0.1, agreeing=0.2)) is None  # noise speaks


def test_a_rival_is_named_in_pixels_of_the_images():
    assert "(12, -8) px, fits 40% of the frame" in contested(against(0.4), scale=4)[1]
