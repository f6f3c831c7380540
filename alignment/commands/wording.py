"""Displacements and images in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def luminance(image: NDArray[Any]) -> NDArray[Any]:
    """Weigh the channels as in Rec. 709; floats, integers by the range of their dtype."""
    import numpy as np

    from ..imagefiles import as_float

    levels = as_float(image)
    return levels if levels.ndim == 2 else levels @ np.array([0.2126, 0.7152, 0.0722], levels.dtype)


def found_line(registration: Any, loss: str) -> str:
    """Describe a registration in one line."""
    sx, sy = errors_of(registration)
    displacement = f"dx {registration.dx:+8.3f}{sx} px   dy {registration.dy:+8.3f}{sy} px"
    return f"{displacement}   {quality(registration, loss)}   {verdict(registration)}"


_COMPARED = {
    "edges": " of edges",
    "fine": " of fine structure",
    "normalised": " of locally normalised levels",
    "toned": " of levels turned by a curve",
}


def quality(registration: Any, loss: str) -> str:
    """Return the value of the loss, and what it was taken of."""
    number = f"NCC {-registration.loss:.4f}" if loss == "ncc" else f"MSE {registration.loss:.3g}"
    return number + _COMPARED.get(registration.options.get("features"), "")


def verdict(registration: Any) -> str:
    """Return the status, and what it means where something is wrong."""
    return registration.status if registration.success else f"{registration.status}: {registration.message}"


def errors_of(registration: Any) -> tuple[str, str]:
    """Return the standard errors, where they are known, as text to follow dx and dy."""
    sx, sy = (s if s is not None and math.isfinite(s) else None for s in registration.stderr or (None, None))
    return tuple("" if s is None else f" ± {s:.3f}" for s in (sx, sy))  # type: ignore[return-value]


def size(image: NDArray[Any], dtype: str | None = None) -> str:
    """Describe the size and depth of an image."""
    colour = ", colour" if image.ndim == 3 else ", grey"
    return f"{image.shape[1]} x {image.shape[0]} px{colour}, {dtype or image.dtype.name}"
