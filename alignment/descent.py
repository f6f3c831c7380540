r"""Descent by hand: step rules of a few lines each, and the one loop that calls them.

Nothing here knows of images. A rule turns gradients into steps; the loop evaluates, asks the rule, moves, and writes
down what happened. An objective that knows its cells takes all the steps within one by compiled code, about a
microsecond each: the law is the same, and so is the path.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from . import _checks
from ._checks import InputError

Vector = NDArray[np.float64]
Row = tuple[float, float, float, float, float]

TRACE = np.dtype([(name, np.int64 if name == "step" else np.float64) for name in (
    "step", "dx", "dy", "loss", "grad_dx", "grad_dy")])  # fmt: skip
UNITS = ("pixels", "normalised")

# the share of the largest curvature that the smallest is taken to have at the least
_LEAST = 1e-12
# steps that compiled code takes before Ctrl-C is heard again
_STRIDE = 1024


class Law(NamedTuple):
    """A rule as compiled code takes it: which, and (learning rate, beta1, beta2, epsilon) or (rate, momentum, 0, 0)."""

    adam: bool
    constants: tuple[float, float, float, float]


class Rule(Protocol):
    """How to turn gradients into steps: an initial state, and one update of it."""

    def initial_state(self) -> Any:
        """Return what the rule remembers before the first step."""

    def update(self, state: Any, gradient: Vector, /) -> tuple[Vector, Any]:
        """Return the step to add to the displacement, and what to remember."""


@dataclass(frozen=True)
class GradientDescent:
    r"""Walk against the gradient, with or without momentum.

    Parameters
    ----------
    learning_rate : float
        :math:`\eta`, in units of displacement squared per unit of loss.
    momentum : float
        :math:`\mu` in [0, 1), the share of the last step that goes on.

    Notes
    -----
    .. math:: v \leftarrow \mu v - \eta \nabla L, \qquad d \leftarrow d + v

    References
    ----------
    B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.

    Examples
    --------
    >>> import numpy as np
    >>> rule = GradientDescent(0.1)
    >>> rule.update(rule.initial_state(), np.array([2.0, -0.0]))[0]
    array([-0.2,  0. ])
    """

    learning_rate: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _checks.positive_number("learning_rate", self.learning_rate)
        if not 0 <= _checks.finite_number("momentum", self.momentum) < 1:
            raise InputError(f"momentum is {self.momentum:g}; give a number from 0 up to, but not including, 1")

    def initial_state(self) -> Vector:
        """Return the velocity at rest."""
        return np.zeros(2)

    def update(self, state: Vector, gradient: Vector) -> tuple[Vector, Vector]:
        """Return the step and the new velocity, which are the same."""
        velocity = self.momentum * state - self.learning_rate * gradient
        return velocity, velocity

    def law(self) -> Law | None:
        """Return the rule as compiled code takes it; None for a class derived from this one, whose rule is unknown."""
        if type(self) is not GradientDescent:
            return None
        return Law(False, (float(self.learning_rate), float(self.momentum), 0.0, 0.0))


@dataclass(frozen=True)
class Adam:
    r"""Adaptive moment estimation: steps of about the learning rate, whatever the size of the gradient.

    Parameters
    ----------
    learning_rate : float
        :math:`\eta`, in units of displacement.
    beta1, beta2 : float
        Decay of the running means of the gradient and of its square.
    epsilon : float
        Keeps the division sane where the gradient vanishes.

    Notes
    -----
    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
        d \leftarrow d - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    The first step has length :math:`\eta` along each axis; while the gradient keeps its sign so do the later ones.
    A number of steps times the learning rate therefore bounds how far it travels.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Examples
    --------
    >>> import numpy as np
    >>> rule = Adam(0.001)
    >>> rule.update(rule.initial_state(), np.array([250.0, -0.5]))[0].round(6)
    array([-0.001,  0.001])
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _checks.positive_number("learning_rate", self.learning_rate)
        _checks.positive_number("epsilon", self.epsilon)
        for name in ("beta1", "beta2"):
            if not 0 <= _checks.finite_number(name, getattr(self, name)) < 1:
                raise InputError(f"{name} is {getattr(self, name):g}; give a number from 0 up to, but not including, 1")

    def initial_state(self) -> tuple[int, Vector, Vector]:
        """Return the step count and both running means, all at zero."""
        return 0, np.zeros(2), np.zeros(2)

    def update(self, state: tuple[int, Vector, Vector], gradient: Vector) -> tuple[Vector, tuple[int, Vector, Vector]]:
        """Return the step and the new running means."""
        t, m, v = state
        t = t + 1
        m = self.beta1 * m + (1 - self.beta1) * gradient
        v = self.beta2 * v + (1 - self.beta2) * gradient**2
        m_hat = m / (1 - self.beta1**t)
        v_hat = v / (1 - self.beta2**t)
        return -self.learning_rate * m_hat / (np.sqrt(v_hat) + self.epsilon), (t, m, v)

    def law(self) -> Law | None:
        """Return the rule as compiled code takes it; None for a class derived from this one, whose rule is unknown."""
        if type(self) is not Adam:
            return None
        return Law(True, (float(self.learning_rate), float(self.beta1), float(self.beta2), float(self.epsilon)))


@dataclass(frozen=True)
class Newton:
    r"""Step to the minimum of the quadratic model, never further than is sound.

    Parameters
    ----------
    max_step : float
        The longest step, in units of displacement: the model describes little more than a cell.

    Notes
    -----
    .. math:: d \leftarrow d - H^{-1} \nabla L

    Where the surface is a saddle or a hill, the eigenvalues of H are replaced by their magnitudes, so that the step
    always leads down. A step that ended higher than it began is taken back by half; at a kink, as a bilinear loss
    has at every integer, this closes in on the crease instead of bouncing across it.

    References
    ----------
    J. Nocedal, S. J. Wright, "Numerical optimization", 2006, sections 3.3 and 3.4.

    Examples
    --------
    >>> import numpy as np
    >>> rule = Newton()
    >>> rule.update(rule.initial_state(), np.array([1.0, 0.5]), 5.0, np.diag([4.0, 1.0]))[0]
    array([-0.25, -0.5 ])
    """

    max_step: float = 1.0

    def __post_init__(self) -> None:
        _checks.positive_number("max_step", self.max_step)

    def initial_state(self) -> tuple[float, Vector]:
        """Return the loss before the last step, and that step."""
        return np.inf, np.zeros(2)

    def update(
        self, state: tuple[float, Vector], gradient: Vector, value: float, hessian: Vector
    ) -> tuple[Vector, tuple[float, Vector]]:
        """Return the step, or half of the last one back if that led up."""
        before, last = state
        if value > before:
            return -last / 2, (before, last / 2)
        step = newton_step(gradient, hessian)
        length = float(np.hypot(*step))
        step = step * min(1.0, self.max_step / length) if length > 0 else step
        return step, (value, step)


@dataclass(frozen=True)
class Descent:
    """What a descent found, and the way it took.

    Attributes
    ----------
    dx, dy : float
        The last displacement, in pixels.
    loss : float
        The loss there.
    trace : structured ndarray
        One record per visited displacement, the start included: step, dx, dy, loss, grad_dx, grad_dy; pixels.
    success : bool
        Whether it converged, or, where no tolerance was given, whether it ended no higher than it began.
    status : str
        "converged", "steps used up", "completed" (no tolerance was given), "diverged" or "undefined".
    message : str
        The status in a sentence.
    """

    dx: float
    dy: float
    loss: float
    trace: NDArray[Any]
    success: bool
    status: str
    message: str

    def __str__(self) -> str:
        """Return one line for people."""
        return f"({self.dx:+.4f}, {self.dy:+.4f}) px, loss {self.loss:.6g}: {self.message}"


def minimise(
    obj: Any,
    rule: Rule | Newton,
    *,
    start: tuple[float, float] = (0.0, 0.0),
    steps: int = 30,
    tolerance: float | None = None,
    units: str = "pixels",
    callback: Callable[[int, float, float, float], object] | None = None,
) -> Descent:
    r"""Descend an objective by a step rule: evaluate, step, and again.

    Parameters
    ----------
    obj : object
        Has ``value_and_gradient(dx, dy) -> (float, array of shape (2,))``, and ``pixels_per_unit`` for
        ``units="normalised"``. The objectives of this package do.
    rule : Rule
        `GradientDescent`, `Adam`, `Newton`, or anything with ``initial_state()`` and ``update(state, gradient)``.
    start : (float, float)
        Where to begin, (dx, dy) in pixels.
    steps : int
        How many steps to take at the most.
    tolerance : float, optional
        Stop once a step is shorter than this many pixels. Without it all steps are taken, as published.
    units : {"pixels", "normalised"}
        The coordinates that the rule works in. Normalised ones run over [-1, 1] across the frame, pixel corners at
        the ends: dx = dx_n W / 2, and dL/ddx_n = (W / 2) dL/ddx. The published learning rates mean these.
    callback : callable, optional
        Called as ``callback(step, dx, dy, loss)`` for the start and after each step; what it returns is ignored.

    Returns
    -------
    Descent

    Raises
    ------
    InputError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> class Bowl:
    ...     def value_and_gradient(self, dx, dy):
    ...         return (dx - 1) ** 2 + 2 * (dy + 2) ** 2, np.array([2 * (dx - 1), 4 * (dy + 2)])
    >>> result = minimise(Bowl(), GradientDescent(0.2), steps=100, tolerance=1e-6)
    >>> round(result.dx, 4), round(result.dy, 4), result.status
    (1.0, -2.0, 'converged')
    """
    position = np.array(_checks.pair_of_numbers("start", start))
    steps = _checks.whole_number("steps", steps)
    tolerance = None if tolerance is None else _checks.positive_number("tolerance", tolerance)
    _checks.with_methods("obj", obj, ("value_and_gradient",), "give an objective such as MSE(reference, moving)")
    _checks.with_methods("rule", rule, ("initial_state", "update"), "give a rule such as Adam(0.01)")
    if isinstance(rule, Newton):
        _checks.with_methods("obj", obj, ("hessian",), "give an objective that has one, or another rule")
    _checks.callback("callback", callback)
    scale = _pixels_per_unit(obj, units)
    walk: _StepByStep | _CellByCell
    law = rule.law() if isinstance(rule, GradientDescent | Adam) else None
    if law is not None and hasattr(obj, "descend_in_cell") and obj.evaluation == "cells":
        walk = _CellByCell(obj, law, scale, position, tolerance or 0.0)
    else:
        walk = _StepByStep(obj, rule, scale, position)
    rows: list[Row] = []
    most = _STRIDE if callback is None else 1
    while True:
        try:
            new, step = walk.go_on(min(most, steps - len(rows) + 1)) if rows else walk.begin()
        except InputError as error:
            return _undefined(rows, walk.position, error)
        rows += new
        if callback is not None:
            callback(len(rows) - 1, *new[-1][:3])
        status = _verdict(rows, step, steps, tolerance, obj)
        if status is not None:
            return _descent(rows, status, tolerance)


class _StepByStep:
    """A walk that asks its rule for every step."""

    def __init__(self, obj: Any, rule: Any, scale: Vector, start: Vector) -> None:
        self.obj, self.rule, self.scale = obj, rule, scale
        self.position = start
        self.state = rule.initial_state()

    def begin(self) -> tuple[list[Row], float]:
        """Evaluate the start."""
        return [self._evaluate()], math.inf

    def go_on(self, most: int) -> tuple[list[Row], float]:
        """Take one step, and return what was found there and its length in pixels."""
        scale, gradient = self.scale, self.gradient
        if isinstance(self.rule, Newton):
            hessian = np.outer(scale, scale) * self.obj.hessian(*self.position.tolist())
            step, self.state = self.rule.update(self.state, scale * gradient, self.value, hessian)
        else:
            step, self.state = self.rule.update(self.state, scale * gradient)
        step = scale * step
        self.position = self.position + step
        return [self._evaluate()], float(np.hypot(*step))

    def _evaluate(self) -> Row:
        """Return the displacement, the loss and the gradient here."""
        self.value, self.gradient = self.obj.value_and_gradient(*self.position.tolist())
        return (*self.position.tolist(), self.value, *np.asarray(self.gradient).tolist())


class _CellByCell:
    """The same walk through an objective that knows its cells: all the steps within one are taken by compiled code."""

    def __init__(self, obj: Any, law: Law, scale: Vector, start: Vector, tolerance: float) -> None:
        self.obj, self.law, self.scale, self.tolerance = obj, law, scale, tolerance
        self.place = np.array([*start, 0.0, 0.0, math.inf])
        self.memory = np.zeros(5)
        self.rows = np.empty((_STRIDE, 5))
        self.left = False

    @property
    def position(self) -> Vector:
        """Where the walk is."""
        return self.place[:2]

    def begin(self) -> tuple[list[Row], float]:
        """Evaluate the start."""
        return [self._evaluate()], math.inf

    def go_on(self, most: int) -> tuple[list[Row], float]:
        """Take steps up to a border of the cell, or one across; return what was found and the last one's length."""
        if not self.left:
            rows = self.rows[:most]
            count, self.left = self.obj.descend_in_cell(
                self.place, self.law, self.memory, self.scale, rows, self.tolerance
            )
            if count:  # a step that left counts when it has been evaluated
                return [tuple(row) for row in rows[:count].tolist()], math.inf if self.left else float(self.place[4])
        self.left = False
        return [self._evaluate()], float(self.place[4])

    def _evaluate(self) -> Row:
        """Return the displacement, the loss and the gradient here."""
        dx, dy = self.position.tolist()
        value, self.place[2:4] = self.obj.value_and_gradient(dx, dy)
        return (dx, dy, value, *self.place[2:4].tolist())


def _pixels_per_unit(obj: Any, units: str) -> Vector:
    """Return how many pixels one unit of the rule's coordinates has along x and y."""
    if _checks.one_of("units", units, UNITS) == "pixels":
        return np.ones(2)
    if not hasattr(obj, "pixels_per_unit"):
        raise InputError(f"units is {units!r} but the objective has no pixels_per_unit; give units='pixels'")
    return np.array(obj.pixels_per_unit, np.float64)


def _verdict(rows: list[Row], step: float, steps: int, tolerance: float | None, obj: Any) -> str | None:
    """Return how the descent ended, or None while it goes on."""
    if not all(map(math.isfinite, rows[-1])):
        return "diverged"
    if tolerance is not None and step < tolerance and _arrived(rows[-1], tolerance, obj):
        return "converged"
    if len(rows) - 1 < steps:
        return None
    if rows[-1][2] > rows[0][2]:
        return "diverged"
    return "completed" if tolerance is None else "steps used up"


def _arrived(row: Row, tolerance: float, obj: Any) -> bool:
    """Say whether the minimum is near too: a short step may only show a small learning rate.

    Where the objective knows its Hessian the quadratic model says how far the minimum is and how much lower it lies.
    At a crease the model's minimum lies across, where the loss is higher than promised; then the step alone counts.
    """
    if not hasattr(obj, "hessian"):
        return True
    dx, dy, value, *gradient = row
    remaining = newton_step(np.array(gradient), obj.hessian(dx, dy))
    if float(np.hypot(*remaining)) < 10 * tolerance:
        return True
    across = remaining * min(1.0, 10 * tolerance / float(np.hypot(*remaining)))
    try:
        return bool(obj.value_and_gradient(dx + across[0], dy + across[1])[0] >= value)
    except InputError:  # nothing lies there
        return True


def newton_step(gradient: Vector, hessian: Vector) -> Vector:
    r"""Return the step to the minimum of the quadratic model, made to lead down everywhere.

    Notes
    -----
    .. math:: s = -H^{-1} g

    with the eigenvalues of H replaced by their magnitudes, which makes the step one of descent where the surface is
    a saddle or a hill. For a symmetric 2 x 2 matrix with eigenvalues p > q and :math:`|H| = \alpha I + \beta H`,
    alpha and beta follow from :math:`|p| = \alpha + \beta p` and :math:`|q| = \alpha + \beta q`.

    Examples
    --------
    >>> import numpy as np
    >>> newton_step(np.array([1.0, 1.0]), np.array([[2.0, 0.0], [0.0, -4.0]]))
    array([-0.5 , -0.25])
    """
    (xx, xy), (_, yy) = hessian.tolist()
    gx, gy = gradient.tolist()
    return np.array(descending_step(gx, gy, xx, xy, yy))


def descending_step(gx: float, gy: float, xx: float, xy: float, yy: float) -> tuple[float, float]:
    """Return `newton_step` in plain floats."""
    middle, radius = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    largest = abs(middle) + radius
    if largest == 0:  # a plane: as far down as makes sense of numbers
        length = math.hypot(gx, gy)
        return (0.0, 0.0) if length == 0 else (-1e6 * gx / length, -1e6 * gy / length)
    p, q = (middle + radius) / largest, (middle - radius) / largest
    xx, xy, yy = xx / largest, xy / largest, yy / largest
    if q <= 0:
        alpha, beta = (0.0, -1.0) if p <= 0 else (-2 * p * q / (p - q), (p + q) / (p - q))
        xx, xy, yy = alpha + beta * xx, beta * xy, alpha + beta * yy
    if min(abs(p), abs(q)) < _LEAST:  # no curvature along one direction: a little keeps the step finite
        xx, yy = xx + _LEAST, yy + _LEAST
    determinant = (xx * yy - xy * xy) * largest
    return (xy * gy - yy * gx) / determinant, (xy * gx - xx * gy) / determinant


def _trace(rows: list[Row]) -> NDArray[Any]:
    """Return the records of all visited displacements."""
    trace = np.empty(len(rows), TRACE)
    trace["step"] = np.arange(len(rows))
    for name, column in zip(("dx", "dy", "loss", "grad_dx", "grad_dy"), np.array(rows).T, strict=True):
        trace[name] = column
    return trace


def _descent(rows: list[Row], status: str, tolerance: float | None) -> Descent:
    """Put the result together."""
    trace = _trace(rows)
    taken = len(trace) - 1
    message = {
        "converged": f"converged: step {taken} was shorter than {tolerance} px",
        "steps used up": f"took all {taken} steps without one shorter than {tolerance} px; give more steps or a "
        "larger learning rate",
        "completed": f"took all {taken} steps; no tolerance was given, so convergence was not judged",
        "diverged": f"the loss ended above its start, or not finite, after {taken} steps; give a smaller learning rate",
    }[status]
    last = trace[-1]
    return Descent(
        dx=float(last["dx"]),
        dy=float(last["dy"]),
        loss=float(last["loss"]),
        trace=trace,
        success=status in ("converged", "completed"),
        status=status,
        message=message,
    )


def _undefined(rows: list[Row], position: Vector, error: InputError) -> Descent:
    """Report a step to where the objective has no value; at the start that is the caller's error."""
    if not rows:
        raise error
    trace = _trace(rows)
    return Descent(
        dx=float(trace[-1]["dx"]),
        dy=float(trace[-1]["dy"]),
        loss=float(trace[-1]["loss"]),
        trace=trace,
        success=False,
        status="undefined",
        message=f"step {len(rows)} led to ({position[0]:g}, {position[1]:g}) px, where {error}; "
        "give a smaller learning rate",
    )
