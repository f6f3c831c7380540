"""Differences: the function is asked politely, and the digits that its values carry are found out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alignment._checks import InputError
from alignment.gradcheck import check_gradient

from .gradients import AT, smooth


def test_rounding_alone_grows_as_the_step_shrinks():
    check = check_gradient(lambda x: (x * x / 3 + 0.1 * x, [2 * x / 3 + 0.1]), 0.7)
    steps, errors = check.steps[0], check.errors[0]
    assert errors[:4].max() < 1e-14
    assert errors[-4:].max() > 1e-10
    assert (errors <= 1e-15 / steps + 1e-14).all()


def test_a_float32_value_lowers_the_digits_and_is_explained():
    check = check_gradient(lambda x, y: (np.float32(smooth(x, y)[0]), smooth(x, y)[1]), AT)
    assert check.passed
    assert (check.floor > 1e-8).all()
    assert any("float32" in note and "float64" in note for note in check.notes)
    planted = check_gradient(lambda x, y: (np.float32(smooth(x, y)[0]), np.multiply(smooth(x, y)[1], [1.001, 1.0])), AT)
    assert not planted.passed


def test_a_value_rounded_to_float32_on_the_way_is_recognised_by_its_digits():
    check = check_gradient(lambda x, y: (float(np.float32(smooth(x, y)[0])), smooth(x, y)[1]), AT)
    assert any("float32" in note for note in check.notes)


def test_a_value_rounded_to_decimals_is_recognised():
    check = check_gradient(lambda x, y: (round(smooth(x, y)[0], 8), smooth(x, y)[1]), AT)
    assert any("8 decimal places" in note for note in check.notes)


def test_arguments_rounded_to_float32_are_explained():
    check = check_gradient(lambda x, y: smooth(float(np.float32(x)), float(np.float32(y))), AT)
    assert any("float32" in note for note in check.notes)
    assert (check.abs_error < 1e-5).all()


def test_a_float32_gradient_passes_with_a_note():
    check = check_gradient(lambda x, y: (smooth(x, y)[0], np.array(smooth(x, y)[1], dtype=np.float32)), AT)
    assert check.passed
    assert any("the gradient carries the digits of float32" in note for note in check.notes)


def test_arguments_arrive_as_float64():
    seen = set()

    def record(x):
        seen.add(type(x))
        return x * x, [2 * x]

    check_gradient(record, np.float32(0.5))
    assert seen == {float}


def test_steps_outside_the_domain_are_left_out():
    check = check_gradient(lambda x: (math.log(x), [1 / x]), 0.02)
    assert check.passed
    assert any("math domain error" in note for note in check.notes)
    assert check_gradient(lambda x: (float(np.exp(x)), [float(np.exp(x))]), 700.0).passed


def test_an_exception_at_the_point_passes_through_with_a_note():
    def broken(x):
        raise KeyError("no such image")

    with pytest.raises(KeyError) as caught:
        check_gradient(broken, 1.5)
    assert any("(1.5,)" in note for note in caught.value.__notes__)


def test_a_defect_away_from_the_point_is_not_swallowed():
    def broken(x):
        if x != 0.5:
            raise KeyError("defect")
        return 0.0, [0.0]

    with pytest.raises(KeyError, match="defect"):
        check_gradient(broken, 0.5)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (3.0, "must return a pair"),
        ((1.0, [1.0, 2.0, 3.0]), r"gradient has shape \(3,\)"),
        ((1.0, [[1.0, 2.0]]), r"gradient has shape \(1, 2\)"),
        ((1.0, 2.0), r"gradient has shape \(\)"),
        (([1.0, 2.0], [1.0, 2.0]), "value must be one number"),
        ((1j, [1.0, 2.0]), "real numbers"),
        ((None, [1.0, 2.0]), "real numbers"),
    ],
)
def test_wrong_answers_of_the_function(answer, sentence):
    with pytest.raises(InputError, match=sentence):
        check_gradient(lambda x, y: answer, AT)


def test_a_number_will_do_for_one_argument_and_a_gradient_that_is_a_number():
    assert check_gradient(lambda x: (x**3, 3 * x * x), 0.5).passed


def test_a_gradient_written_into_the_same_buffer_each_time_is_copied():
    buffer = np.empty(2)

    def reuse(x, y):
        buffer[:] = smooth(x, y)[1]
        return smooth(x, y)[0], buffer

    assert check_gradient(reuse, AT).passed
