"""What is known of each frame of a stack: written down as the frames come, judged when all have been seen.

A frame's error bar has two parts: how much its own residual is, and how a residual scatters in the gradient, which is
the same for all frames and therefore pooled. Whether a frame is blurred or saturated is told by the middle frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .template import describe
from .tracker import FAILURES, Found

Array = NDArray[np.float64]
Window = tuple[int, int, int, int]

# square pixels: what interpolation leaves, however little noise there is
FLOOR = 2.5e-4**2
# how much larger the share of saturated pixels may be than in the middle frame
_SATURATED = 0.25
# the contrast, over that of the middle frame, below which a frame that shows nothing known is blank
_CONTRAST = 0.5
# looks that are described together
_LOOKS = 256

MESSAGES = {
    **FAILURES,
    "before": "the frame shows nothing that the next ones show",
    "dark": "the frame has much less contrast than the middle one, and nothing in it is known",
    "saturated": "many more pixels than usual are at the largest level",
    "out of focus": "the frame is blurred by a Gaussian of {blur:.1f} px more than the middle one",
    "not linked": "no chain of pairs that agree leads from the reference to the frame",
}


@dataclass(frozen=True)
class Plan:
    """What is asked of the passes over a stack, see `alignment.stacks.register_stack`."""

    channel: int | None
    max_shift: float | tuple[float, float] | None
    lags: tuple[int, ...]
    passes: int
    border: float
    callback: Callable[[int, int | None], object]


@dataclass
class Ledger:
    """What is known of each frame, in the order of the frames."""

    shape: tuple[int, int] = (0, 0)
    status: list[str] = field(default_factory=list)
    message: list[str] = field(default_factory=list)
    places: list[tuple[float, float]] = field(default_factory=list)
    ncc: list[float] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    saturation: list[float] = field(default_factory=list)
    contrast: list[float] = field(default_factory=list)
    covariances: list[Array | None] = field(default_factory=list)  # None: pooled, see `pooled`
    blur: list[float] = field(default_factory=list)
    _waiting: list[tuple[int, Found]] = field(default_factory=list)
    _curvature: dict[int, tuple[Array, float]] = field(default_factory=dict)
    _scatter: list[Array] = field(default_factory=list)

    def add(
        self, frame: NDArray[Any], found: Found, covariance: Array | None = None, window: Window | None = None
    ) -> None:
        """Write down one frame."""
        number = len(self.status)
        self.shape = frame.shape[0], frame.shape[1]
        self.status.append(found.status)
        self.message.append(found.message)
        self.places.append(found.place)
        self.ncc.append(found.ncc)
        self.saturation.append(_saturation(frame))
        self.contrast.append(_contrast(frame))
        self.blur.append(math.nan)
        best = found.look or found.fit
        whole = 0, self.shape[0], 0, self.shape[1]
        seen = found.look.sight.window if found.look else found.fit.window if found.fit else whole
        self.windows.append(window or seen)
        if covariance is None and (found.look is None or not found.success):
            covariance = found.fit.covariance if best and found.success and found.fit else unknown()
        self.covariances.append(covariance)
        if found.look is not None:
            self._waiting.append((number, found))
            if len(self._waiting) >= _LOOKS:
                self._describe()

    def _describe(self) -> None:
        """Find out what the last looks tell, and let go of them."""
        quality = describe([found.look for _, found in self._waiting if found.look is not None])
        for n, (number, _) in enumerate(self._waiting):
            self.blur[number] = float(quality.blur[n])
            self._curvature[number] = quality.curvature[n], float(quality.noise[n])
            if np.isfinite(quality.scatter[n]).all():
                self._scatter.append(quality.scatter[n])
        self._waiting = []

    def judge(self, max_blur: float | None) -> Array:
        """Flag the frames that differ from the others, and return the covariances of all: shape (T, 2, 2)."""
        if self._waiting:
            self._describe()
        covariances = np.array([unknown() if c is None else c for c in self.covariances]).reshape(-1, 2, 2)
        waiting = [n for n, c in enumerate(self.covariances) if c is None]
        if waiting:
            covariances[waiting] = self._pooled(waiting)
        self._flag(max_blur)
        return covariances

    def _pooled(self, numbers: list[int]) -> Array:
        """Return the covariances of frames from the noise of each and the scatter that all share."""
        curvature = np.array([self._curvature[n][0] for n in numbers])
        noise = np.array([self._curvature[n][1] for n in numbers])
        scatter = np.mean(self._scatter, axis=0) * noise[:, None, None]
        values = np.linalg.eigvalsh(curvature)
        steep = values[:, 0] > 1e-6 * values[:, 1]
        inverse = np.linalg.inv(np.where(steep[:, None, None], curvature, np.eye(2)))
        covariance = inverse @ scatter @ inverse + FLOOR * np.eye(2)
        return np.asarray(np.where(steep[:, None, None], covariance, np.inf))

    def _flag(self, max_blur: float | None) -> None:
        """Flag frames that are saturated or blurred much more than the middle one."""
        good = [n for n, status in enumerate(self.status) if status == "converged"]
        if not good:
            return
        usual = float(np.median([self.saturation[n] for n in good]))
        contrast = float(np.median([self.contrast[n] for n in good]))
        seen = [self.blur[n] for n in good if math.isfinite(self.blur[n])]
        sharp = float(np.median(seen)) if seen else 0.0
        for n, status in enumerate(self.status):
            bright = self.saturation[n] > usual + _SATURATED and status != "not finite"
            more = self.blur[n] - sharp
            if bright:
                self._reject(n, "saturated")
            elif status in ("no correlation", "flat") and self.contrast[n] < _CONTRAST * contrast:
                self.status[n], self.message[n] = "blank", MESSAGES["dark"]
            elif status == "converged" and max_blur is not None and more > max_blur**2:
                self._reject(n, "out of focus", blur=math.sqrt(more))

    def _reject(self, number: int, status: str, **details: float) -> None:
        """Take a frame's success away."""
        self.status[number], self.message[number] = status, MESSAGES[status].format(**details)
        self.places[number] = math.nan, math.nan


def _saturation(frame: NDArray[Any]) -> float:
    """Return the share of pixels at the largest level there can be, or for floats at the largest there is."""
    sample = frame[::4, ::4]
    if frame.dtype.kind in "iu":
        return float(np.count_nonzero(sample == np.iinfo(frame.dtype).max)) / sample.size
    top = sample.max()
    return float(np.count_nonzero(sample == top)) / sample.size if np.isfinite(top) and top > sample.min() else 0.0


def _contrast(frame: NDArray[Any]) -> float:
    """Return the standard deviation of some of the grey levels."""
    sample = frame[::8, ::8].ravel().astype(np.float64)
    sample -= sample[0]
    variance = float(sample @ sample) / sample.size - (float(sample.sum()) / sample.size) ** 2
    return math.sqrt(max(variance, 0.0)) if math.isfinite(variance) else 0.0


def unknown() -> Array:
    """Return the covariance of a displacement of which nothing is known."""
    return np.full((2, 2), np.inf)
