r"""What a registration ends with: a displacement, its error bars, and what to think of it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import InputError
from .bilinear import shift, theta
from .losses import Window
from .uncertainty import Conditioning, Ellipse, conditioning, ellipse

TRACE = np.dtype([
    ("level", np.int64), ("step", np.int64), ("dx", np.float64), ("dy", np.float64),
    ("loss", np.float64), ("grad_dx", np.float64), ("grad_dy", np.float64),
])  # fmt: skip


@dataclass(frozen=True)
class Registration:
    """A displacement, and what to think of it.

    ``aligned(x, y) = moving(x + dx, y + dy)`` lies on the reference: positive dx says that the content of the moving
    image lies dx pixels to the right of the reference's.

    Attributes
    ----------
    dx, dy : float
        In pixels.
    loss : float
        The value of the minimised objective there.
    ncc : float
        The correlation of the two images there, in [-1, 1], over the window that was compared.
    covariance : ndarray of shape (2, 2)
        Of (dx, dy), in square pixels. It assumes that noise is independent from pixel to pixel and that the content is
        displaced as a whole; where the goodness of fit speaks against it, it is widened to what the image itself shows.
    degrees_of_freedom : float
        Of the covariance: infinite if it follows from a model of the noise, few if it is the scatter between blocks.
    goodness_of_fit : float
        How widely the gradient scatters from block to block, squared, over what independent noise would give: about 1
        if the images differ by noise alone, more if something moved or looks different; nan where not known.
    curvature : ndarray of shape (2, 2)
        Second derivatives of the negative correlation, per square pixel; see `conditioning`.
    success : bool
        Whether the displacement can be trusted: the status is "converged".
    status : str
        "converged", "not converged", "local minimum", "at bound", "ambiguous", "flat", "low overlap" or
        "no correlation".
    message : str
        The status in a sentence, with what to try.
    overlap : float
        The share of the frame that both images cover, in [0, 1].
    window : (top, bottom, left, right)
        The pixels of the reference that were compared at the finest level.
    runner_up : tuple (dx, dy, loss) or None
        The next best distinct displacement that the search found, at its coarse resolution; or the one that stands out
        more but that fewer parts of the frame show.
    n_steps, n_evaluations, n_passes : int
        Steps taken, losses asked for, times that the two images (or coarse versions) were read.
    trace : structured ndarray
        level (0 is the finest), step, dx, dy in pixels of the finest level, loss, its gradient per pixel of the level.
    """

    dx: float
    dy: float
    loss: float
    ncc: float
    covariance: NDArray[np.float64]
    degrees_of_freedom: float
    goodness_of_fit: float
    curvature: NDArray[np.float64]
    success: bool
    status: str
    message: str
    overlap: float
    window: Window
    runner_up: tuple[float, float, float] | None
    n_steps: int
    n_evaluations: int
    n_passes: int
    trace: NDArray[Any] = field(repr=False)
    options: dict[str, Any] = field(repr=False)

    @property
    def shift_rc(self) -> tuple[float, float]:
        """The move to apply to the moving image, in (row, column) order, as SciPy and scikit-image speak of it."""
        return -self.dy, -self.dx

    @property
    def theta(self) -> NDArray[np.float64]:
        """The 2 x 3 matrix that maps a target point (x, y, 1) to the source point to read."""
        return theta(self.dx, self.dy)

    @property
    def stderr(self) -> tuple[float, float]:
        """The standard errors of dx and dy, in pixels."""
        return float(np.sqrt(self.covariance[0, 0])), float(np.sqrt(self.covariance[1, 1]))

    @property
    def conditioning(self) -> Conditioning:
        """The smallest curvature of the loss over the largest, and the direction of the smallest, in degrees."""
        return conditioning(self.curvature)

    def confidence_ellipse(self, level: float = 0.95) -> Ellipse:
        """Return the region around (dx, dy) that holds the truth with a probability.

        Parameters
        ----------
        level : float
            The probability, between 0 and 1.

        Returns
        -------
        Ellipse
            With center, semi_axes and angle; infinite where the covariance is.

        Raises
        ------
        InputError
            If the level is not between 0 and 1.
        """
        checked = _checks.number_between("level", level, 1e-9, 1 - 1e-9)
        return ellipse((self.dx, self.dy), self.covariance, checked, self.degrees_of_freedom)

    def apply(self, image: ArrayLike, *, boundary: str = "zero") -> NDArray[Any]:
        """Lay an image of the moving frame on the reference: its shape and dtype stay as they are."""
        return shift(image, self.dx, self.dy, boundary=boundary)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the trace as plain numbers, strings and lists."""
        return {
            "convention": "aligned(x, y) = moving(x + dx, y + dy), in pixels",
            "dx": self.dx,
            "dy": self.dy,
            "shift_rc": list(self.shift_rc),
            "theta": self.theta.tolist(),
            "loss": _plain(self.loss),
            "ncc": _plain(self.ncc),
            "covariance": [[_plain(v) for v in row] for row in self.covariance],
            "stderr": [_plain(v) for v in self.stderr],
            "degrees_of_freedom": _plain(self.degrees_of_freedom),
            "goodness_of_fit": _plain(self.goodness_of_fit),
            "curvature": [[_plain(v) for v in row] for row in self.curvature],
            "conditioning": self.conditioning._asdict(),
            "success": self.success,
            "status": self.status,
            "message": self.message,
            "overlap": self.overlap,
            "window": list(self.window),
            "runner_up": None if self.runner_up is None else list(self.runner_up),
            "n_steps": self.n_steps,
            "n_evaluations": self.n_evaluations,
            "n_passes": self.n_passes,
            "options": self.options,
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Registration:
        """Rebuild a result from its JSON; the trace, which is not stored, comes back empty."""
        try:
            data = json.loads(text)
            derived = ("convention", "shift_rc", "theta", "stderr", "conditioning")
            values = {name: data[name] for name in data if name not in derived}
            covariance, curvature = (
                np.array([[other if v is None else v for v in row] for row in values.pop(name)])
                for name, other in (("covariance", math.inf), ("curvature", math.nan))
            )
            runner_up = values.pop("runner_up")
            others = {"loss": math.nan, "ncc": math.nan, "goodness_of_fit": math.nan, "degrees_of_freedom": math.inf}
            values.update({name: other for name, other in others.items() if values[name] is None})
            return cls(
                **{**values, "window": tuple(values["window"])},
                covariance=covariance,
                curvature=curvature,
                runner_up=None if runner_up is None else tuple(runner_up),
                trace=np.empty(0, TRACE),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError("this is not the JSON of a Registration; give the text that to_json returned") from error

    def __str__(self) -> str:
        """Return one line for people."""
        sx, sy = self.stderr
        return f"dx = {self.dx:+.3f} +- {sx:.3f} px, dy = {self.dy:+.3f} +- {sy:.3f} px, {self.message}"


def _plain(value: float) -> float | None:
    """Return a number that JSON can hold: None for what is not finite."""
    return float(value) if math.isfinite(value) else None
