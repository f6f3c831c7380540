"""How many digits of a gradient can a checker confirm?

Run ``python benchmarks/gradcheck.py``: it prints a Markdown table. All tools get the same two functions, MSE and NCC of
the demo pair in float64 at a displacement between pixels, each with its defaults. Tools that are not installed are
left out with a sentence.

*agreement* is the worst, over the two components, of the digits to which the analytic gradient and the tool's numeric
one agree. *caught* is the smallest relative error, planted in both components, that the tool's own verdict rejects: a
number that agrees to ten digits is worth little where the tolerance lets three pass.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import alignment as al

Array = NDArray[np.float64]
Function = Callable[..., tuple[float, Array]]

AT = (2.37, -1.61)  # px
CAP = 16.0  # digits of float64


class Tool(NamedTuple):
    """A checker: its name in the table, the module it needs, and what to ask it.

    ``digits(function)`` gives the agreement; ``accepts(function)`` the verdict, None where the tool gives none.
    """

    name: str
    module: str
    digits: Callable[[Function], float]
    accepts: Callable[[Function], bool] | None = None


class Counted:
    """A function that counts how often it is evaluated."""

    def __init__(self, function: Function) -> None:
        self.function, self.evaluations = function, 0

    def __call__(self, dx: float, dy: float) -> tuple[float, Array]:
        self.evaluations += 1
        return self.function(float(dx), float(dy))


def value_of(function: Function) -> Callable[[Array], float]:
    return lambda x: function(x[0], x[1])[0]


def gradient_of(function: Function) -> Callable[[Array], Array]:
    return lambda x: np.asarray(function(x[0], x[1])[1])


def digits_of(error: float) -> float:
    """Return decimal digits from a relative error."""
    return min(-math.log10(max(error, 1e-300)), CAP)


def agreement(function: Function, numeric: Any) -> float:
    """Return the digits to which a numeric gradient agrees with the analytic one, in the worst component."""
    analytic = gradient_of(function)(np.array(AT))
    numeric = np.asarray(numeric, np.float64)
    return digits_of(float(np.max(np.abs(analytic - numeric) / np.maximum(np.abs(analytic), np.abs(numeric)))))


def smallest(passes: Callable[[float], bool]) -> float:
    """Return the power of ten, to a tenth, from which on a check answers as for small numbers no longer."""
    low, high = -16.0, 0.0
    while high - low > 0.05:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if passes(10.0**middle) else (low, middle)
    return high


# the tools


def ours(function: Function) -> float:
    return float(al.check_gradient(function, AT).digits.min())


def ours_accepts(function: Function) -> bool:
    return al.check_gradient(function, AT).passed


def scipy_check_grad(function: Function) -> float:
    """Forward differences; the error comes as the norm over both components."""
    from scipy.optimize import check_grad

    error = check_grad(value_of(function), gradient_of(function), np.array(AT))
    return digits_of(float(error / np.linalg.norm(gradient_of(function)(np.array(AT)))))


def scipy_three_points(function: Function) -> float:
    """The central difference behind ``minimize(jac="3-point")``."""
    from scipy.optimize._numdiff import approx_derivative

    return agreement(function, approx_derivative(value_of(function), np.array(AT), method="3-point"))


def scipy_derivative(function: Function) -> float:
    """Adaptive differences of order 8, along one argument after the other."""
    from scipy.differentiate import derivative

    def along(axis: int) -> float:
        def values(t: Array) -> Array:
            points = [np.where(np.arange(2) == axis, s, AT) for s in np.ravel(t)]
            return np.reshape([function(*point)[0] for point in points], np.shape(t))

        return float(derivative(values, AT[axis]).df)

    return agreement(function, [along(0), along(1)])


def numdifftools_gradient(function: Function) -> float:
    """Adaptive central differences with extrapolation."""
    import numdifftools

    return agreement(function, numdifftools.Gradient(value_of(function))(np.array(AT)))


def torch_accepts(function: Function, **tolerances: float) -> bool:
    """`torch.autograd.gradcheck` of our function as a node of a graph."""
    import torch

    class Node(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            value, gradient = function(*x.tolist())
            ctx.save_for_backward(torch.tensor(gradient))
            return torch.tensor(value, dtype=torch.float64)

        @staticmethod
        def backward(ctx: Any, upstream: Any) -> Any:
            return upstream * ctx.saved_tensors[0]

    point = torch.tensor(AT, dtype=torch.float64, requires_grad=True)
    return bool(torch.autograd.gradcheck(Node.apply, (point,), raise_exception=False, **tolerances))


def torch_digits(function: Function) -> float:
    """Return the digits of the tightest relative tolerance that still passes."""
    return -smallest(lambda tolerance: not torch_accepts(function, rtol=tolerance, atol=0.0))


TOOLS = (
    Tool("`alignment.check_gradient`", "alignment", ours, ours_accepts),
    Tool("`scipy.optimize.check_grad`", "scipy", scipy_check_grad),
    Tool("scipy, 3-point difference", "scipy", scipy_three_points),
    Tool("`scipy.differentiate.derivative`", "scipy.differentiate", scipy_derivative),
    Tool("`torch.autograd.gradcheck`", "torch", torch_digits, torch_accepts),
    Tool("`numdifftools.Gradient`", "numdifftools", numdifftools_gradient),
)


# the table


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the parent is missing
        return False


def caught(tool: Tool, function: Function) -> str:
    """Return the smallest planted relative error that the tool rejects."""
    if tool.accepts is None:
        return "no verdict"
    accepts = tool.accepts

    def passes(error: float) -> bool:
        def spoilt(dx: float, dy: float) -> tuple[float, Array]:
            value, gradient = function(dx, dy)
            return value, gradient * (1.0 + error)

        return accepts(spoilt)

    return f"{10.0 ** smallest(passes):.0e}"


def evaluations(tool: Tool, function: Function) -> int:
    """Return how often one check evaluates the function."""
    counted = Counted(function)
    (tool.accepts or tool.digits)(counted)
    return counted.evaluations


def main() -> None:
    reference, moving = al.datasets.shifted_pair(dtype="float64")
    functions: dict[str, Function] = {
        loss.__name__: loss(reference, moving, evaluation="direct").value_and_gradient for loss in (al.MSE, al.NCC)
    }
    heads = ["checker"]
    heads += [f"{name}, {what}" for name in functions for what in ("agreement (digits)", "caught")] + ["evaluations"]
    print(f"Gradients of the demo pair, {reference.shape[1]} x {reference.shape[0]} px, float64, at {AT} px\n")
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    absent = []
    for tool in TOOLS:
        if not installed(tool.module):
            absent.append(tool)
            continue
        cells = [tool.name]
        for function in functions.values():
            cells += [f"{tool.digits(function):.1f}", caught(tool, function)]
        cells.append(str(evaluations(tool, functions["NCC"])))
        print("| " + " | ".join(cells) + " |", flush=True)
    for tool in absent:
        print(f"\n{tool.name} is left out, because {tool.module} is not installed.")


if __name__ == "__main__":
    main()
