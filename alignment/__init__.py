"""Find the displacement that lays one image on another, by descending a hand-derived gradient.

The shortest complete example::

    import alignment as al

    reference, moving = al.datasets.shifted_pair(dx=3.4, dy=-1.7)
    result = al.register(reference, moving)
    print(result.dx, result.dy, result.message)
    aligned = result.apply(moving)

``aligned(x, y) = moving(x + dx, y + dy)``, in pixels: positive dx says that the content of the moving image lies dx
pixels to the right of the reference's, positive dy that it lies below.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import batch, colour, datasets, formulas, plots, study
    from ._checks import InputError
    from .bilinear import shift, shift_gradients, theta
    from .bound import cramer_rao
    from .descent import Adam, Descent, GradientDescent, Newton, minimise
    from .exhaustive import Minimum, global_minimum
    from .gaussian import Gaussian
    from .gradcheck import GradientCheck, check_gradient
    from .imagefiles import read_image, write_image
    from .losses import MSE, NCC
    from .noise import estimate_noise
    from .plates import Colorization, colorize
    from .registration import Registration, register
    from .stacks import StackRegistration, register_stack
    from .tiles import LocalDisplacements, local_displacements

# where each public name lives; the module is loaded when the name is first used, so that importing the package is quick
_HOME = {
    "InputError": "_checks",
    "shift": "bilinear",
    "shift_gradients": "bilinear",
    "theta": "bilinear",
    "MSE": "losses",
    "NCC": "losses",
    "minimise": "descent",
    "Descent": "descent",
    "GradientDescent": "descent",
    "Adam": "descent",
    "Newton": "descent",
    "global_minimum": "exhaustive",
    "Minimum": "exhaustive",
    "Gaussian": "gaussian",
    "check_gradient": "gradcheck",
    "GradientCheck": "gradcheck",
    "estimate_noise": "noise",
    "cramer_rao": "bound",
    "register": "registration",
    "Registration": "registration",
    "local_displacements": "tiles",
    "LocalDisplacements": "tiles",
    "register_stack": "stacks",
    "StackRegistration": "stacks",
    "colorize": "plates",
    "Colorization": "plates",
    "read_image": "imagefiles",
    "write_image": "imagefiles",
}
_MODULES = ("batch", "colour", "datasets", "formulas", "plots", "study")

__all__ = [  # noqa: RUF022  (grouped by theme)
    "__version__",
    "InputError",
    # the sampler and its derivatives
    "shift",
    "shift_gradients",
    "theta",
    # objectives
    "MSE",
    "NCC",
    "Gaussian",
    # descent, visible and by hand
    "minimise",
    "Descent",
    "GradientDescent",
    "Adam",
    "Newton",
    # the lowest point of a whole box
    "global_minimum",
    "Minimum",
    # gradient checks
    "check_gradient",
    "GradientCheck",
    # noise, and what it allows
    "estimate_noise",
    "cramer_rao",
    # registration
    "register",
    "Registration",
    "local_displacements",
    "LocalDisplacements",
    # stacks
    "register_stack",
    "StackRegistration",
    # plates
    "colorize",
    "Colorization",
    # data and files
    "read_image",
    "write_image",
    "colour",
    "batch",
    "datasets",
    "formulas",
    "plots",
    "study",
]


def __getattr__(name: str) -> Any:
    """Load the home of a public name when it is first asked for."""
    if name in _HOME:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    elif name in _MODULES:
        value = import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted({*__all__, *globals()})
