"""A stack in pieces: the same as in one, whoever does the work, and however it ends."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from alignment import InputError, register_stack
from alignment.batch import run
from alignment.ledger import Ledger
from alignment.pieces import Pieces

from .test_stacks import error, made, walk


@pytest.fixture(scope="module")
def path():
    return walk(24)


@pytest.fixture(scope="module")
def stack(path):
    frames = made(path)
    frames[13] = 0
    return frames


@pytest.mark.parametrize("to", ["first", "mean", 5])
def test_pieces_give_what_the_whole_gives(stack, path, to):
    whole = register_stack(stack, to=to)
    pieces = Pieces(stack, to=to, length=7)
    assert pieces.spans == [(0, 7), (7, 14), (14, 21), (21, 24)]
    joined = pieces.join([pieces.work(span) for span in pieces.spans])
    assert joined.status == whole.status
    assert joined.status[13] == "blank"
    np.testing.assert_allclose(joined.dx, whole.dx, atol=2e-3)
    np.testing.assert_allclose(joined.stderr, whole.stderr, rtol=0.3)
    assert error(register_stack(stack, to=to), path if to != 5 else path - path[5], anchored=to != "mean") < 0.6
    assert joined.options == whole.options
    assert [frame.shape for frame in joined.apply()] == [stack[0].shape] * 24


def test_who_does_the_work_does_not_matter(stack):
    pieces = Pieces(stack, length=9)
    here = pieces.join(pieces.work(span) for span in pieces.spans)
    elsewhere = pickle.loads(pickle.dumps(pieces.work))
    sent = pieces.join(pickle.loads(pickle.dumps(elsewhere(span))) for span in pieces.spans)
    assert sent.to_json() == here.to_json()


@pytest.mark.parametrize("to", ["mean", 3])
def test_what_was_found_survives_writing_it_down(stack, to):
    pieces = Pieces(stack, to=to, length=9)
    done = [pieces.work(span) for span in pieces.spans]
    written = [json.dumps(ledger.to_dict()) for ledger in done]
    again = [Ledger.from_dict(json.loads(text)) for text in written]
    assert pieces.join(again).to_json() == pieces.join(done).to_json()
    assert [json.dumps(ledger.to_dict()) for ledger in again] == written


def test_a_ledger_with_something_missing_is_none(stack):
    data = Pieces(stack, length=4).heard((0, 4)).to_dict()
    for name in ("status", "ncc", "covariances", "curvature", "windows", "shape"):
        for value in (data[name][:-1], None):
            with pytest.raises((ValueError, TypeError)):
                Ledger.from_dict({**data, name: value})
        with pytest.raises(KeyError):
            Ledger.from_dict({key: value for key, value in data.items() if key != name})


@pytest.mark.slow
def test_processes_do_it(stack):
    pieces = Pieces(stack, to="mean", length=6)
    here = pieces.join(outcome.value for outcome in run(pieces.work, pieces.spans))
    there = pieces.join(outcome.value for outcome in run(pieces.work, pieces.spans, jobs=2))
    assert there.to_json() == here.to_json()


def test_a_piece_that_failed_is_bridged(stack):
    pieces = Pieces(stack, length=8)
    done = [pieces.work(span) for span in pieces.spans]
    result = pieces.join([done[0], OSError("the disk is gone"), done[2]])
    assert result.status[8:16] == ["failed"] * 8
    assert result.success[[*range(8), *range(16, 24)]].all()
    assert "the disk is gone" in result.message[9]
    np.testing.assert_allclose(np.diff(result.dx[7:17], 2), 0, atol=1e-12)
    assert np.isinf(result.stderr[8:16]).all()


def test_the_callback_counts_what_is_done(stack):
    seen = []
    pieces = Pieces(stack, length=10, callback=lambda done, total: seen.append((done, total)))
    pieces.join(pieces.work(span) for span in pieces.spans)
    assert seen == [(10, 24), (20, 24), (24, 24)]
    seen.clear()
    pieces.join(pieces.heard(span) for span in pieces.spans)
    assert sorted(set(seen)) == [(number, 24) for number in range(1, 25)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"to": "previous"}, "give 'first', 'mean'"),
        ({"length": 0}, "length is 0"),
        ({"bridge": "no"}, "bridge is 'no'"),
    ],
)
def test_what_is_refused(stack, options, says):
    with pytest.raises(InputError, match=says):
        Pieces(stack, **options)
