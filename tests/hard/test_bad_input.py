"""Bad input, tried systematically: every public function with every kind of image, and with every kind of argument.

Each call ends in a right answer or in one `InputError` with a full sentence: no other exception, no warning, no silent
NaN, no changed input, nothing global left behind. A warning is an error in this suite.
"""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

import alignment as al
from alignment import imagefiles

from .images import CONTENTS, HOSTILE, LAYOUTS, NO_IMAGES, TYPES
from .outcomes import COMPILED, HungError, not_finite, outcome, scene

TRUTH = (1.25, -0.75)
REFERENCE, MOVING = scene(), scene(dx=TRUTH[0], dy=TRUTH[1])


@pytest.fixture(autouse=True)
def known(request):
    """Leave out what pure Python cannot do without a warning."""
    what = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if not COMPILED and what.get("content") == "the largest number there is":
        pytest.skip("in pure Python the sums that overflow raise a warning")


STATUSES = {
    "converged", "not converged", "local minimum", "at bound", "ambiguous", "flat", "low overlap", "no correlation",
}  # fmt: skip


class Bowl:
    """An objective of the caller's own."""

    pixels_per_unit = (32.0, 32.0)

    def value_and_gradient(self, dx, dy):
        return (dx - 1.0) ** 2 + (dy + 2.0) ** 2, np.array([2 * (dx - 1.0), 2 * (dy + 2.0)])

    def hessian(self, dx, dy):
        return np.diag([2.0, 2.0])


def parabola(x, y):
    return x * x + y, (2 * x, 1.0)


# functions of one grey image, and of a pair


def _encoded(image):
    import io

    file = io.BytesIO()
    imagefiles.encode_image(file, "image.tif", image, dtype="float32")
    return np.frombuffer(file.getvalue(), np.uint8)


ONE = {
    "shift": lambda image: al.shift(image, 1.25, -0.5),
    "shift, wrap": lambda image: al.shift(image, -70.5, 1000.25, boundary="wrap"),
    "shift, Gaussian": lambda image: al.shift(image, 1.25, -0.5, kernel=al.Gaussian(0.8), boundary="edge"),
    "shift_gradients": lambda image: al.shift_gradients(image, 1.0, -0.5, side="central"),
    "shift_gradients, Gaussian": lambda image: al.shift_gradients(image, 1.0, -0.5, kernel=al.Gaussian(0.8)),
    "estimate_noise": al.estimate_noise,
    "cramer_rao": lambda image: al.cramer_rao(image, 0.01),
    "encode_image": _encoded,
}


def _evaluated(kind, **options):
    def call(reference, moving):
        made = kind(reference, moving, **options)
        return *made.value_and_gradient(0.3, -0.7), *made.value_and_gradient(1.0, 0.0), made.hessian(0.3, -0.7)

    return call


TWO = {
    "MSE, cells": _evaluated(al.MSE),
    "MSE, direct": _evaluated(al.MSE, evaluation="direct", side="central"),
    "MSE, Gaussian": _evaluated(al.MSE, kernel=al.Gaussian(0.8), domain="interior"),
    "NCC, cells": _evaluated(al.NCC),
    "NCC, direct": _evaluated(al.NCC, evaluation="direct", side="left"),
    "NCC, Gaussian": _evaluated(al.NCC, kernel=al.Gaussian(0.8), domain="interior"),
    "register": al.register,
    "register, mse": lambda reference, moving: al.register(reference, moving, loss="mse"),
    "register, edges": lambda reference, moving: al.register(reference, moving, features="edges"),
    "register, fine": lambda reference, moving: al.register(reference, moving, features="fine"),
    "register, newton": lambda reference, moving: al.register(reference, moving, method="newton"),
    "register, adam": lambda reference, moving: al.register(reference, moving, method="adam", loss="mse"),
    "register, gradient descent": lambda reference, moving: al.register(reference, moving, method="gradient-descent"),
    "register, exhaustive": lambda reference, moving: al.register(reference, moving, method="exhaustive"),
    "register, no smoothing": lambda reference, moving: al.register(reference, moving, smooth=0, kernel="hat"),
    "register_stack": lambda reference, moving: al.register_stack([reference, moving]),
    "local_displacements": lambda reference, moving: al.local_displacements(reference, moving, tiles=(2, 2)),
}
SINGLE = [pytest.param(name, marks=pytest.mark.slow if name == "estimate_noise" else ()) for name in ONE]
EVERY_DAY = ("MSE, cells", "NCC, cells", "NCC, Gaussian", "register", "register_stack")
# in pure Python the searches take minutes; what they share with the losses is tried there
PAIRS = [
    pytest.param(name, marks=() if name in EVERY_DAY else pytest.mark.slow)
    for name in TWO
    if COMPILED or name.startswith(("MSE", "NCC"))
]


def numbers(answer):
    """Return what an answer says, in comparable numbers."""
    if isinstance(answer, al.Registration):
        return np.array([answer.dx, answer.dy, answer.loss, answer.ncc, *answer.covariance.ravel()])
    if isinstance(answer, al.StackRegistration):
        return np.concatenate([answer.dx, answer.dy])
    if isinstance(answer, al.LocalDisplacements):
        return np.concatenate([answer.dx.ravel(), answer.dy.ravel()])
    if isinstance(answer, tuple):
        return np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in answer])
    return np.ravel(np.asarray(answer, np.float64))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", [*SINGLE, *PAIRS])
def test_layouts_give_the_same_bits(name, layout):
    call, images = (ONE[name], (REFERENCE,)) if name in ONE else (TWO[name], (REFERENCE, MOVING))
    altered = [LAYOUTS[layout](image) for image in images]
    kind, answer = outcome(lambda: call(*altered), altered)
    assert kind == "answer", answer
    np.testing.assert_array_equal(numbers(answer), numbers(call(*images)))


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("name", PAIRS)
def test_types_give_the_same_answer(name, type_):
    altered = [TYPES[type_](image) for image in (REFERENCE, MOVING)]
    kind, answer = outcome(lambda: TWO[name](*altered), altered)
    assert kind == "answer", answer
    # int8 has 95 levels here, int64 and uint64 only half of their range
    rough = {"int8": 0.02, "float16": 0.005}.get(type_, 0.002)
    if isinstance(answer, al.Registration):
        assert answer.success
        assert math.dist((answer.dx, answer.dy), TRUTH) < 0.01 + rough
    elif isinstance(answer, al.StackRegistration):
        assert math.dist((answer.dx[1], answer.dy[1]), TRUTH) < 0.01 + rough
    elif not isinstance(answer, al.LocalDisplacements):
        plain = TWO[name](REFERENCE, MOVING)
        size = 4.0 if type_ in ("int64", "uint64") and name.startswith("MSE") else 1.0  # MSE goes with levels squared
        np.testing.assert_allclose(size * numbers(answer), numbers(plain), atol=10 * rough)


@pytest.mark.parametrize("type_", TYPES)
def test_shift_keeps_the_type_and_agrees(type_):
    image = TYPES[type_](REFERENCE)
    kind, answer = outcome(lambda: al.shift(image, 1.25, -0.5), [image])
    assert kind == "answer"
    assert answer.dtype.newbyteorder("=") == image.dtype.newbyteorder("=")
    unit = float(np.max(image)) / float(np.max(REFERENCE))
    # half a level is lost when the image is made, and half when it is shifted; then a little of the unit
    level = 2 / unit if image.dtype.kind in "iu" else 0.001
    np.testing.assert_allclose(answer.astype(float) / unit, al.shift(REFERENCE, 1.25, -0.5), atol=level)


@pytest.mark.parametrize("what", NO_IMAGES)
@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_what_is_no_image_is_refused(name, what):
    if name in ONE:
        kind, answer = outcome(lambda: ONE[name](NO_IMAGES[what](REFERENCE)))
        assert kind == "refused", answer
        return
    for pair in ((NO_IMAGES[what](REFERENCE), MOVING), (REFERENCE, NO_IMAGES[what](MOVING))):
        kind, answer = outcome(lambda pair=pair: TWO[name](*pair))
        assert kind == "refused" or name == "register_stack", answer
        if kind == "answer":  # a frame that cannot be read is a row with a status
            assert "converged" not in answer.status[1:]


def _check_registration(found):
    """Assert that a registration says nothing that is not so; the truth is known."""
    assert math.isfinite(found.dx)
    assert math.isfinite(found.dy)
    assert found.status in STATUSES
    assert found.success == (found.status == "converged")
    assert not np.isnan(found.covariance).any()
    assert found.message
    al.Registration.from_json(found.to_json())


def _check_stack(found, truth):
    """Assert the same of a stack of two frames."""
    assert len(found.dx) == len(found.dy) == len(found.status) == len(found.message) == 2
    assert not np.isinf([*found.dx, *found.dy]).any()
    if found.status == ["converged", "converged"]:
        assert math.dist((found.dx[1] - found.dx[0], found.dy[1] - found.dy[0]), truth) < 1.0


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", PAIRS)
def test_strange_contents_of_both_images(name, content):
    altered = [CONTENTS[content](image) for image in (REFERENCE, MOVING)]
    kind, answer = outcome(lambda: TWO[name](*altered), altered)
    if kind == "refused":
        return
    if isinstance(answer, al.Registration):
        _check_registration(answer)
        kept = content in KEEPS_THE_PICTURE
        if answer.success:
            assert math.dist((answer.dx, answer.dy), TRUTH if kept else (0.0, 0.0)) < 1.0, answer
    elif isinstance(answer, al.StackRegistration):
        _check_stack(answer, TRUTH if content in KEEPS_THE_PICTURE else (0.0, 0.0))
    elif not isinstance(answer, al.LocalDisplacements):
        assert not not_finite(list(answer)), answer


# contents through which the displacement can still be seen; the others are the same in both images, or nothing at all
KEEPS_THE_PICTURE = {
    "one NaN", "one infinity", "one minus infinity", "a row of NaN", "half NaN", "a frame of NaN", "one of 1e300",
    "times 1e300", "times 1e150", "times 1e-300", "denormal", "float32 near its largest", "float32 denormal",
    "float16 near its largest", "constant but for the last digit", "a high pedestal", "True and False",
    "only 0 and 255", "the lowest and highest int64", "negative", "long double", "7 x 8", "16 x 16", "1 x N", "N x 1",
    "3 x N", "3 x 3", "2 x 2", "1 x 2",
}  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", PAIRS)
def test_strange_contents_of_one_image(name, content):
    strange = CONTENTS[content](MOVING)
    kind, answer = outcome(lambda: TWO[name](REFERENCE, strange), [strange])
    if kind == "refused":
        return
    if isinstance(answer, al.Registration):
        _check_registration(answer)
        if answer.success:
            assert content in KEEPS_THE_PICTURE, f"{content} converged: {answer}"
            assert math.dist((answer.dx, answer.dy), TRUTH) < 1.0
    elif isinstance(answer, al.StackRegistration):
        _check_stack(answer, TRUTH)
        assert content in KEEPS_THE_PICTURE or answer.status[1] != "converged"
    elif not isinstance(answer, al.LocalDisplacements):
        assert not not_finite(list(answer)), answer


SAYS_NAN = ("NaN", "infinity", "1e300", "largest", "masked")  # contents whose shifted image shows what is not finite


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", SINGLE)
def test_strange_contents_of_a_single_image(name, content):
    strange = CONTENTS[content](REFERENCE)
    kind, answer = outcome(lambda: ONE[name](strange), [strange])
    if kind == "refused":
        return
    if name == "cramer_rao":  # infinite where nothing tells a displacement
        assert not np.isnan(answer).any()
    elif not name.startswith("shift") or not any(word in content for word in SAYS_NAN):
        assert not not_finite(list(answer) if isinstance(answer, tuple) else answer)
    if name.startswith("shift") and "gradients" not in name:
        assert np.shape(answer) == np.shape(strange)


# every argument of every public function


def _tiny(**options):
    return al.register(REFERENCE[:24, :24], MOVING[:24, :24], **options)


REGISTRATION = _tiny()
STACK = al.register_stack([REFERENCE[:32, :32], MOVING[:32, :32]])
PLATE = np.vstack([scene(48, 40, dx=1.0), scene(48, 40), scene(48, 40, dy=1.0)])
PICTURE = np.dstack([REFERENCE, MOVING, REFERENCE])[:24, :24]

# name: (the function, good arguments by name); every one of its parameters is tried with every hostile value
CALLS = {
    "shift": (al.shift, {"image": REFERENCE[:12, :12], "dx": 1.0, "dy": 0.5}),
    "shift_gradients": (al.shift_gradients, {"image": REFERENCE[:12, :12], "dx": 1.0, "dy": 0.5}),
    "theta": (al.theta, {"dx": 1.0, "dy": 0.5}),
    "MSE": (al.MSE, {"reference": REFERENCE, "moving": MOVING}),
    "NCC": (al.NCC, {"reference": REFERENCE, "moving": MOVING}),
    "MSE.value_and_gradient": (al.MSE(REFERENCE, MOVING).value_and_gradient, {"dx": 1.0, "dy": 0.5}),
    "NCC.value_and_gradient": (al.NCC(REFERENCE, MOVING).value_and_gradient, {"dx": 1.0, "dy": 0.5}),
    "NCC.value_and_gradient, direct": (
        al.NCC(REFERENCE, MOVING, evaluation="direct").value_and_gradient, {"dx": 1.0, "dy": 0.5}),
    "NCC.value_and_gradient, Gaussian": (
        al.NCC(REFERENCE, MOVING, kernel=al.Gaussian()).value_and_gradient, {"dx": 1.0, "dy": 0.5}),
    "MSE.hessian": (al.MSE(REFERENCE, MOVING).hessian, {"dx": 1.0, "dy": 0.5}),
    "NCC.hessian": (al.NCC(REFERENCE, MOVING).hessian, {"dx": 1.0, "dy": 0.5}),
    "NCC.correlation": (al.NCC(REFERENCE, MOVING).correlation, {"dx": 1.0, "dy": 0.5}),
    "MSE.landscape": (al.MSE(REFERENCE, MOVING).landscape, {"dx": [0.0, 1.0], "dy": [0.0, 1.0]}),
    "NCC.landscape": (al.NCC(REFERENCE, MOVING).landscape, {"dx": [0.0, 1.0], "dy": [0.0, 1.0]}),
    "Gaussian": (al.Gaussian, {}),
    "Gaussian.taps": (al.Gaussian().taps, {"fraction": 0.5}),
    "GradientDescent": (al.GradientDescent, {"learning_rate": 0.1}),
    "Adam": (al.Adam, {"learning_rate": 0.1}),
    "Newton": (al.Newton, {}),
    "minimise": (al.minimise, {"obj": Bowl(), "rule": al.GradientDescent(0.1)}),
    "minimise, Newton": (al.minimise, {"obj": Bowl(), "rule": al.Newton(), "tolerance": 1e-3}),
    "global_minimum": (al.global_minimum, {"objective": al.NCC(REFERENCE, MOVING), "max_shift": 2}),
    "check_gradient": (al.check_gradient, {"value_and_gradient": parabola, "at": (1.0, 2.0)}),
    "estimate_noise": (al.estimate_noise, {"image": REFERENCE}),
    "cramer_rao": (al.cramer_rao, {"image": REFERENCE, "noise": 0.01}),
    "register": (al.register, {"reference": REFERENCE, "moving": MOVING}),
    "Registration.apply": (REGISTRATION.apply, {"image": REFERENCE}),
    "Registration.confidence_ellipse": (REGISTRATION.confidence_ellipse, {}),
    "Registration.from_json": (al.Registration.from_json, {"text": REGISTRATION.to_json()}),
    "register_stack": (al.register_stack, {"frames": [REFERENCE[:32, :32], MOVING[:32, :32]]}),
    "StackRegistration.apply": (lambda **o: list(STACK.apply(**o)), {"frames": [REFERENCE[:32, :32]] * 2}),
    "StackRegistration.from_json": (al.StackRegistration.from_json, {"text": STACK.to_json()}),
    "local_displacements": (al.local_displacements, {"reference": REFERENCE, "moving": MOVING, "tiles": (2, 2)}),
    "colorize": (al.colorize, {"plate": PLATE}),
    "read_image": (al.read_image, {"path": "absent.png"}),
    "colour.measure": (al.colour.measure, {"picture": PICTURE}),
    "colour.Adjustment": (al.colour.Adjustment, {}),
    "colour.Adjustment.apply": (al.colour.Adjustment().apply, {"picture": PICTURE}),
    "datasets.shifted_pair": (al.datasets.shifted_pair, {"shape": (24, 24)}),
    "datasets.demo_plate": (al.datasets.demo_plate, {}),
    "imagefiles.to_dtype": (imagefiles.to_dtype, {"image": REFERENCE, "dtype": "uint8"}),
    "imagefiles.as_float": (imagefiles.as_float, {"image": REFERENCE}),
}  # fmt: skip


def _parameters(function):
    if isinstance(function, type(len)) or getattr(function, "__name__", "") == "<lambda>":
        return ["frames"]
    found = inspect.signature(function).parameters.values()
    return [one.name for one in found if one.kind is not one.VAR_KEYWORD]


# a function of the caller's that raises is the caller's affair, and a great many steps are tried in test_determinism.py
ALLOWED = {
    ("callback", "a class"), ("callback", "a function"), ("steps", "a billion"), ("steps", "10 ** 400"),
    ("value_and_gradient", "a class"), ("value_and_gradient", "a function"),
}  # fmt: skip
SLOW = ("datasets", "colorize", "local_displacements")
CASES = [
    pytest.param(name, parameter, marks=pytest.mark.slow if name.startswith(SLOW) else ())
    for name, (function, _) in CALLS.items()
    for parameter in _parameters(function)
]


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_every_argument_with_every_hostile_value(name, parameter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, good = CALLS[name]
    wrong = []
    for what, value in HOSTILE.items():
        if (parameter, what) in ALLOWED:
            continue
        try:
            kind, answer = outcome(lambda value=value: function(**{**good, parameter: value}))
            if kind == "answer" and what in ("NaN", "two NaN", "NumPy's NaN") and name != "imagefiles.as_float":
                wrong.append(f"{what}: NaN was taken: {str(answer)[:80]}")
        except (Exception, HungError) as error:
            wrong.append(f"{what}: {type(error).__name__}: {' '.join(str(error).split())[:150]}")
    assert not wrong, "\n".join(wrong)
    assert not list(tmp_path.iterdir())


def test_no_public_function_is_left_out():
    results = {"Descent", "GradientCheck", "Minimum", "LocalDisplacements", "Colorization", "InputError"}
    elsewhere = {"write_image"}  # in test_bad_files.py and test_writes.py
    public = {name for name in al.__all__ if callable(getattr(al, name))}
    assert public - {name.split(".")[0] for name in CALLS} == results | elsewhere
