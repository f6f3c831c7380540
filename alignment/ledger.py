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

from .template import Look, describe
from .tracker import FAILURES, Found

Array = NDArray[np.float64]
Window = tuple[int, int, int, int]

# square pixels: what interpolation leaves, however little noise there is
FLOOR = 2.5e-4**2
# how much larger the share of saturated pixels may be than in the middle frame
_SATURATED = 0.25
# the contrast, over that of the middle frame, below which a frame that shows nothing known is blank
_CONTRAST = 0.5
# frames that are described together, and pixels of each along its short side that stand for all
_LOOKS = 256
_SAMPLED = 32

MESSAGES = {
    **FAILURES,
    "before": "the frame shows nothing that the next ones show",
    "dark": "the frame has much less contrast than the middle one, and nothing in it is known",
    "saturated": "many more pixels than usual are at the largest level",
    "out of focus": "the frame is blurred by a Gaussian of {blur:.1f} px more than the middle one",
    "not linked": "no chain of pairs that agree leads from the reference to the frame",
}

_COLUMNS = ("status", "message", "places", "ncc", "windows", "saturation", "contrast", "blur")


@dataclass(frozen=True)
class Plan:
    """What is asked of the passes over a stack, see `alignment.stacks.register_stack`."""

    channel: int | None
    max_shift: float | tuple[float, float] | None
    lags: tuple[int, ...]
    passes: int
    max_blur: float | None
    bridge: str
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
    _waiting: list[tuple[int, Look]] = field(default_factory=list)
    _samples: list[NDArray[Any]] = field(default_factory=list)
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
        self.blur.append(math.nan)
        whole = 0, self.shape[0], 0, self.shape[1]
        look, fit = found.look, found.fit
        self.windows.append(window or (look.sight.window if look else fit.window if fit else whole))
        if covariance is None and (look is None or not found.success):
            covariance = fit.covariance if found.success and fit else unknown()
        self.covariances.append(covariance)
        if look is not None:
            self._waiting.append((number, look))
        if self._samples and (len(self._samples) >= _LOOKS or self._samples[0].dtype != frame.dtype):
            self._describe()
        self._samples.append(_sample(frame))

    def _describe(self) -> None:
        """Find out what the last frames and looks tell, and let go of them."""
        levels = np.array(self._samples)
        self.saturation += _saturation(levels).tolist()
        self.contrast += _contrast(levels).tolist()
        self._samples = []
        if not self._waiting:
            return
        quality = describe([look for _, look in self._waiting])
        rows = zip(self._waiting, quality.blur.tolist(), quality.curvature, quality.noise.tolist(), strict=True)
        for (number, _), blur, curvature, noise in rows:
            self.blur[number] = blur
            self._curvature[number] = curvature, noise
        self._scatter += list(quality.scatter[np.isfinite(quality.scatter).all(axis=(1, 2))])
        self._waiting = []

    def settle(self) -> None:
        """Let go of all frames: what is left can be sent elsewhere."""
        if self._samples:
            self._describe()

    def fail(self, count: int, shape: tuple[int, int], message: str) -> None:
        """Write down frames that nobody could look at."""
        self.shape = shape
        self.status += ["failed"] * count
        self.message += [message] * count
        self.places += [(math.nan, math.nan)] * count
        self.windows += [(0, shape[0], 0, shape[1])] * count
        self.covariances += [unknown()] * count
        self.ncc += [math.nan] * count
        self.blur += [math.nan] * count
        self.saturation += [0.0] * count
        self.contrast += [0.0] * count

    def extend(self, other: Ledger) -> None:
        """Write down the frames of another ledger, which has been settled, after those of this one."""
        begin = len(self.status)
        self.shape = other.shape
        for name in (*_COLUMNS, "covariances"):
            getattr(self, name).extend(getattr(other, name))
        self._curvature |= {begin + number: row for number, row in other._curvature.items()}
        self._scatter += other._scatter

    def to_dict(self) -> dict[str, Any]:
        """Return everything that is known as lists, numbers and strings: what was found and has not been judged yet."""
        self.settle()
        columns = {name: list(getattr(self, name)) for name in (*_COLUMNS, "covariances")}
        columns["covariances"] = [None if c is None else c.tolist() for c in self.covariances]
        curvature = [[number, matrix.tolist(), noise] for number, (matrix, noise) in self._curvature.items()]
        scatter = [matrix.tolist() for matrix in self._scatter]
        return {"shape": list(self.shape), **columns, "curvature": curvature, "scatter": scatter}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Ledger:
        """Rebuild a ledger, to the last bit; a KeyError, TypeError or ValueError says that the data are not of one."""
        height, width = data["shape"]
        made = cls(shape=(int(height), int(width)))
        for name in _COLUMNS:
            setattr(made, name, list(data[name]))
        made.places = [(float(dx), float(dy)) for dx, dy in data["places"]]
        made.windows = [(int(a), int(b), int(c), int(d)) for a, b, c, d in data["windows"]]
        made.covariances = [None if c is None else _two_by_two(c) for c in data["covariances"]]
        made._curvature = {int(n): (_two_by_two(matrix), float(noise)) for n, matrix, noise in data["curvature"]}
        made._scatter = [_two_by_two(matrix) for matrix in data["scatter"]]
        lengths = {len(getattr(made, name)) for name in (*_COLUMNS, "covariances")}
        pooled = {number for number, covariance in enumerate(made.covariances) if covariance is None}
        if len(lengths) != 1 or not pooled <= made._curvature.keys():
            raise ValueError("the columns of a ledger are of different lengths")
        return made

    def judge(self, max_blur: float | None) -> Array:
        """Flag the frames that differ from the others, and return the covariances of all: shape (T, 2, 2)."""
        self.settle()
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


def _two_by_two(rows: Any) -> Array:
    """Return a matrix that was written as lists."""
    return np.asarray(rows, np.float64).reshape(2, 2)


def _sample(frame: NDArray[Any]) -> NDArray[Any]:
    """Return some of the grey levels."""
    step = max(1, min(frame.shape) // _SAMPLED)
    return frame[::step, ::step].flatten()  # a copy: no frame is kept alive by it


def _saturation(levels: NDArray[Any]) -> Array:
    """Return the share of pixels at the largest level there can be, or for floats at the largest there is."""
    if levels.dtype.kind in "iu":
        return np.asarray((levels == np.iinfo(levels.dtype).max).mean(axis=1))
    top, least = levels.max(axis=1, keepdims=True), levels.min(axis=1, keepdims=True)
    usable = np.isfinite(top) & (top > least)
    return np.asarray(((levels == top) & usable).mean(axis=1))


def _contrast(levels: NDArray[Any]) -> Array:
    """Return the standard deviations of the grey levels; 0 where there is none."""
    with np.errstate(over="ignore", invalid="ignore"):
        deviations = levels.std(axis=1, dtype=np.float64)
    return np.where(np.isfinite(deviations), deviations, 0.0)


def unknown() -> Array:
    """Return the covariance of a displacement of which nothing is known."""
    return np.full((2, 2), np.inf)
