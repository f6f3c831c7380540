"""The check of a line, in digits, in words and in plain numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from alignment.linecheck import LineCheck


def line(**changes):
    """Return the check of a line with some of its numbers changed."""
    numbers = dict.fromkeys(("analytic", "numeric", "abs_error", "rel_error", "floor", "best_step", "order"), 1.0)
    words = {"name": "x", "stencil": "central", "verdict": "pass", "reason": ""}
    arrays = {"direction": np.ones(1), "steps": np.array([0.1, 0.01]), "errors": np.array([1.0, math.nan])}
    return LineCheck(**(numbers | words | arrays | changes))


@pytest.mark.parametrize(
    ("error", "digits"), [(1e-3, 3.0), (0.0, 16.0), (1e-300, 16.0), (2.0, 0.0), (math.inf, 0.0), (math.nan, 0.0)]
)
def test_digits_are_those_of_the_relative_error_and_at_most_sixteen(error, digits):
    assert line(rel_error=error).digits == pytest.approx(digits)


@pytest.mark.parametrize(("order", "words"), [(2.0, "2.00"), (0.994, "0.99"), (math.inf, "exact"), (math.nan, "-")])
def test_the_order_is_put_into_words(order, words):
    assert line(order=order).order_in_words == words


def test_a_line_becomes_plain_json_in_which_nothing_is_infinite():
    plain = json.loads(json.dumps(line(order=math.inf, floor=math.inf).to_dict(), allow_nan=False))
    assert (plain["order"], plain["floor"], plain["digits"]) == ("exact", None, 0.0)
    assert (plain["direction"], plain["errors"]) == ([1.0], [1.0, None])
