r"""Glass plates: three grey exposures stacked on one scan, turned into one colour photograph.

Sergei Prokudin-Gorskii exposed one plate three times, through a blue, a green and a red filter, from the top. The scan
shows them inside black frames on white paper, each a little displaced, because the camera and the scene moved.

All rectangles are (top, bottom, left, right) in pixels of the plate file, bottom and right exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import Image, InputError
from .registration import LOSSES, Registration, register

Rectangle = tuple[int, int, int, int]

CHANNELS = ("red", "green", "blue")
ORDERS = {"bgr": ("blue", "green", "red"), "rgb": ("red", "green", "blue")}
CROPS = ("auto", "overlap", "none")

# the smallest exposure that can show anything to align
_SMALLEST = 24
# the share of each side that paper, and within an exposure its frame, may take
_PAPER = 0.15
_FRAME = 0.1


@dataclass(frozen=True)
class Colorization:
    """A colour photograph, and how it came about.

    Attributes
    ----------
    rgb : ndarray of shape (M, N, 3)
        Red, green and blue in the dtype of the plate.
    reference : str
        The channel that the other two were laid on.
    registrations : dict
        For each of the other two channels a `Registration`; its (dx, dy) is between pixel (0, 0) of the channel's own
        rectangle and of the reference's.
    exposures : dict
        The rectangle of each channel on the plate; all are of one size.
    crop : (top, bottom, left, right)
        The part of the plate, within the reference's rectangle, that the photograph shows.
    success : bool
        Whether both registrations converged.
    status, message : str
        "converged" or the first doubt, and a sentence.
    """

    rgb: NDArray[Any]
    reference: str
    registrations: dict[str, Registration]
    exposures: dict[str, Rectangle]
    crop: Rectangle
    success: bool
    status: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the picture as plain numbers, strings and lists."""
        return {
            "success": self.success,
            "status": self.status,
            "message": self.message,
            "reference": self.reference,
            "exposures": {name: list(rectangle) for name, rectangle in self.exposures.items()},
            "crop": list(self.crop),
            "registrations": {name: result.to_dict() for name, result in self.registrations.items()},
        }


def colorize(
    plate: ArrayLike,
    *,
    reference: str = "green",
    loss: str = "ncc",
    order: str = "bgr",
    crop: str = "auto",
    features: str = "auto",
    max_shift: float | tuple[float, float] | None = None,
    threads: int = 1,
) -> Colorization:
    """Turn the scan of a plate into a colour photograph.

    Parameters
    ----------
    plate : array_like of shape (H, W) or (H, W, 3)
        The scan, the three exposures above one another; of a colour scan the mean of its channels is used.
    reference : {"green", "red", "blue"}
        The channel that stays where it is.
    loss : {"ncc", "mse"}
        What the registration minimises.
    order : {"bgr", "rgb"}
        The filters from the top of the plate down.
    crop : {"auto", "overlap", "none"}
        What to show: the part that all three channels cover without their frames, with them, or the whole rectangle.
    features : {"auto", "edges", "fine", "intensity"}
        What is compared. A colour is bright in one exposure and dark in the next, but its edge is an edge in all;
        "auto" keeps to intensities only where they agree very well.
    max_shift : float or (float, float), optional
        Largest displacement to consider, in pixels; a fifth of the exposure unless given.
    threads : int
        As in `register`.

    Returns
    -------
    Colorization

    Raises
    ------
    InputError
        If the plate is too small, constant, or an option is unknown.

    Examples
    --------
    >>> from alignment import datasets
    >>> demo = datasets.demo_plate()
    >>> result = colorize(demo.plate)
    >>> result.success, result.rgb.shape[2], result.rgb.dtype
    (True, 3, dtype('uint16'))
    """
    _checks.one_of("reference", reference, CHANNELS)
    _checks.one_of("loss", loss, tuple(LOSSES))
    _checks.one_of("crop", crop, CROPS)
    grey = _grey(plate)
    exposures = find_exposures(grey, order=order)
    channels = {name: grey[top:bottom, left:right] for name, (top, bottom, left, right) in exposures.items()}
    height, width = channels[reference].shape
    reach = (width / 5, height / 5) if max_shift is None else max_shift
    registrations = {
        name: register(
            channels[reference], channels[name], loss=loss, features=features, max_shift=reach, border=_FRAME
        )
        for name in CHANNELS
        if name != reference
    }
    laid = {name: registrations[name].apply(c) if name in registrations else c for name, c in channels.items()}
    shown = _crop(laid, registrations, crop)
    top, _, left, _ = exposures[reference]
    doubtful = {name: result for name, result in registrations.items() if not result.success}
    return Colorization(
        rgb=np.stack([laid[name][shown[0] : shown[1], shown[2] : shown[3]] for name in CHANNELS], axis=-1),
        reference=reference,
        registrations=registrations,
        exposures=exposures,
        crop=(top + shown[0], top + shown[1], left + shown[2], left + shown[3]),
        success=not doubtful,
        status=next((result.status for result in doubtful.values()), "converged"),
        message="; ".join(f"{name}: {result.message}" for name, result in doubtful.items()) or "converged",
    )


def find_exposures(plate: Image, *, order: str = "bgr") -> dict[str, Rectangle]:
    """Find the three exposures: what is left inside the paper, cut into thirds.

    Parameters
    ----------
    plate : ndarray of shape (H, W)
    order : {"bgr", "rgb"}
        The filters from the top down.

    Returns
    -------
    dict
        The rectangle of each channel, all of one size.

    Raises
    ------
    InputError
        If the plate is constant or too small.
    """
    names = ORDERS[_checks.one_of("order", order, tuple(ORDERS))]
    if plate.shape[0] < 3 * _SMALLEST or plate.shape[1] < _SMALLEST:
        raise InputError(
            f"the plate has {plate.shape[1]} x {plate.shape[0]} pixels (width x height), too few for three exposures "
            f"above one another; give at least {_SMALLEST} x {3 * _SMALLEST}"
        )
    if plate.min() == plate.max():
        raise InputError(f"the plate is constant: every pixel is {plate.flat[0]}; give a scan with three exposures")
    top, bottom = _without_paper(plate)
    left, right = _without_paper(plate.T)
    height = (bottom - top) // 3
    return {name: (top + i * height, top + (i + 1) * height, left, right) for i, name in enumerate(names)}


def _grey(plate: ArrayLike) -> Image:
    """Return the plate as one grey image of its own dtype."""
    clean, mask = _checks.image("plate", plate, channels=True)
    if mask is not None:
        raise InputError("the plate has pixels that are not finite; give a scan in which every pixel has a grey level")
    array = np.asarray(plate)
    if array.ndim == 2:
        native: Image = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        return native if array.dtype.kind in "iu" else clean
    mean = array.mean(axis=2, dtype=np.float64)
    grey: Image = np.rint(mean).astype(array.dtype) if array.dtype.kind in "iu" else mean.astype(clean.dtype)
    return grey


def _without_paper(plate: Image) -> tuple[int, int]:
    """Return the first and last row (exclusive) that are not mostly paper: the brightest tone, up to the border."""
    levels = plate[:: max(1, plate.shape[0] // 512), :: max(1, plate.shape[1] // 512)]
    dark, bright = np.percentile(levels, (1, 99))
    paper = bright - 0.15 * (bright - dark)
    mostly = np.median(plate[:, :: max(1, plate.shape[1] // 512)], axis=1) >= paper
    most = round(_PAPER * len(mostly))
    first = next((i for i in range(most) if not mostly[i]), 0)
    last = next((i for i in range(most) if not mostly[-1 - i]), 0)
    return first, len(mostly) - last


def _crop(laid: dict[str, Image], registrations: dict[str, Registration], crop: str) -> Rectangle:
    """Return what to show of the reference's rectangle."""
    height, width = next(iter(laid.values())).shape
    if crop == "none":
        return 0, height, 0, width
    dx = [0.0, *(result.dx for result in registrations.values())]
    dy = [0.0, *(result.dy for result in registrations.values())]
    top, bottom = int(np.ceil(-min(dy))), height - int(np.ceil(max(dy)))
    left, right = int(np.ceil(-min(dx))), width - int(np.ceil(max(dx)))
    if crop == "auto":
        inside = [image[max(top, 0) : bottom, max(left, 0) : right] for image in laid.values()]
        top, bottom = (a + b for a, b in zip((top, bottom), _framed(inside), strict=True))
        left, right = (a + b for a, b in zip((left, right), _framed([image.T for image in inside]), strict=True))
    if bottom - top < _SMALLEST or right - left < _SMALLEST:
        return 0, height, 0, width  # displaced beyond sense: show all, the status says why
    return max(top, 0), bottom, max(left, 0), right


def _framed(images: list[Image]) -> tuple[int, int]:
    """Return how many rows to drop at the top, and (negative) at the bottom, to be rid of the frames of all channels.

    A frame ends in a step of the row means that is out of scale with those of the picture; the innermost step counts.
    """
    first = last = 0
    for image in images:
        margin = round(0.1 * image.shape[1])
        means = image[:, margin : image.shape[1] - margin].mean(axis=1, dtype=np.float64)
        steps = np.abs(np.convolve(means, [1, 1, 0, -1, -1], mode="same")) / 2
        most = max(2, round(_FRAME * len(means)))
        usual = np.median(steps[most:-most]) + 0.02 * np.ptp(means)
        high = np.nonzero(steps[2:-2] > 5 * usual)[0] + 2
        first = max(first, max((int(i) + 3 for i in high if i < most), default=0))
        last = max(last, max((len(means) - int(i) + 2 for i in high if i >= len(means) - most), default=0))
    return first, -last
