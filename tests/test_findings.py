"""What a check has found: a table, plain numbers, and no truth value of its own."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from alignment.findings import GradientCheck
from alignment.gradcheck import check_gradient

from .gradients import AT, quadratic, smooth, spoilt, three


def test_the_result_is_true_through_passed_only():
    check = check_gradient(quadratic, AT)
    with pytest.raises(TypeError, match=r"\.passed"):
        bool(check)
    assert isinstance(check.passed, bool)


def test_raise_if_failed_carries_the_table():
    check_gradient(quadratic, AT).raise_if_failed()
    with pytest.raises(AssertionError, match="likely mistake: a common factor of -1: the wrong sign"):
        check_gradient(spoilt(quadratic, np.negative), AT).raise_if_failed()


def test_the_table_shows_every_line_and_the_rule():
    check = check_gradient(quadratic, AT)
    text = str(check)
    for word in ("analytic", "numeric", "abs error", "rel error", "step", "order", "verdict", "rule: pass if"):
        assert word in text
    assert len(re.findall(r"^(?:x|y|direction \d) .*pass$", text, re.MULTILINE)) == 5
    assert "passed" in repr(check)


@pytest.mark.parametrize(
    "function", [quadratic, smooth, lambda x, y: (math.nan, (0.0, math.inf)), lambda x, y: (abs(x), (0.3, 0.0))]
)
def test_to_dict_is_plain_json(function):
    check = check_gradient(function, (0.0, -1.21))
    plain = json.loads(json.dumps(check.to_dict(), allow_nan=False))
    assert plain["passed"] is check.passed
    assert len(plain["analytic"]) == len(plain["order"]) == len(plain["coordinates"]) == 2
    assert plain["message"] == check.message
    assert len(plain["errors"][0]) == len(plain["steps"][0])


def test_the_columns_have_one_entry_per_argument():
    check = check_gradient(three, (0.4, 0.2, 0.7))
    for name in ("analytic", "numeric", "abs_error", "rel_error", "order", "floor", "best_step", "digits"):
        assert getattr(check, name).shape == (3,)
    assert check.steps.shape == check.errors.shape == (3, 29)
    np.testing.assert_allclose(check.numeric, check.analytic, rtol=1e-11)


def test_the_result_cannot_be_changed():
    check = check_gradient(quadratic, AT)
    with pytest.raises(AttributeError):
        check.passed = False
    assert isinstance(check, GradientCheck)
