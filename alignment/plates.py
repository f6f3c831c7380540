r"""Glass plates: three grey exposures stacked on one scan, turned into one colour photograph.

Sergei Prokudin-Gorskii exposed one plate three times, through a blue, a green and a red filter, from the top. The scan
shows them inside black frames on white paper, each a little displaced, because the camera and the scene moved.

Each of the three pairs of channels is registered, and the three answers are solved for two displacements: going round
the channels has to end where it began, and how far it does not says what the answers are worth.

All rectangles are (top, bottom, left, right) in pixels of the plate file, bottom and right exclusive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import Image, InputError
from .channels import FEATURES, Pair, closure, registered
from .composition import CROPS, Crop, check_crop, compose
from .exposures import CHANNELS, Rectangle, check_exposures, find_exposures, names_of
from .exposures import is_negative as looks_negative
from .options import LOSSES, Options
from .result import Registration
from .scans import block_mean, grey

__all__ = [
    "CHANNELS", "CROPS", "FEATURES", "Colorization", "InputError", "Rectangle", "colorize", "compose",
    "find_exposures",
]  # fmt: skip

# the share of each side of an exposure that is not compared: what is left of frames, tapes and chips
_BORDER = 0.1
# pixels along the short side of an exposure that are enough: more show the grain, and how the emulsion has warped
_ENOUGH = 1024
# of the short side: the standard deviation of a displacement's mean over a plate, whose parts have moved on their own
_WARP = 3e-4
# the closure in units of its standard deviation beyond which the three answers contradict each other
_CONTRADICTION = 4.0
# what a pair that did not converge counts, in units of the variance of one that did
_DOUBTED = 1e4


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
        For each of the other two channels a `Registration`; its (dx, dy), between pixel (0, 0) of the channel's own
        rectangle and of the reference's, and their covariance are those that all three pairs together give.
    exposures : dict
        The rectangle of each channel on the plate.
    crop : (top, bottom, left, right)
        The part of the plate, within the reference's rectangle, that the photograph shows.
    success : bool
        Whether the displacements can be trusted.
    status, message : str
        "converged" or the first doubt, and a sentence.
    closure : (float, float)
        What is left, along x and y in pixels, after going round: from the reference to one channel, to the other and
        back.
    pairs : dict
        The three registrations as they were, by names such as "red on green", whose options say what was compared.
    inverted : bool
        Whether the scan was recognised as a negative; the photograph is a positive.
    notes : tuple of str
        What else to know: a sentence for each.
    """

    rgb: NDArray[Any]
    reference: str
    registrations: dict[str, Registration]
    exposures: dict[str, Rectangle]
    crop: Rectangle
    success: bool
    status: str
    message: str
    closure: tuple[float, float] = (0.0, 0.0)
    pairs: dict[str, Registration] = field(default_factory=dict)
    inverted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def displacements(self) -> dict[str, tuple[float, float]]:
        """(dx, dy) of the other two channels, as `compose` takes them."""
        return {name: (r.dx, r.dy) for name, r in self.registrations.items()}

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
            "closure": list(self.closure),
            "pairs": {name: result.to_dict() for name, result in self.pairs.items()},
            "inverted": self.inverted,
            "notes": list(self.notes),
        }


class _Solution(NamedTuple):
    """Displacements from the reference that agree best with what was found pair by pair."""

    moves: dict[str, NDArray[np.float64]]
    covariances: dict[str, NDArray[np.float64]]
    closure: NDArray[np.float64]
    contradiction: float


def colorize(
    plate: ArrayLike,
    *,
    reference: str = "green",
    loss: str = "ncc",
    order: str = "bgr",
    crop: Crop = "auto",
    features: str = "auto",
    max_shift: float | tuple[float, float] | None = None,
    exposures: Mapping[str, Rectangle] | None = None,
    threads: int = 1,
) -> Colorization:
    r"""Turn the scan of a plate into a colour photograph.

    Parameters
    ----------
    plate : array_like of shape (H, W) or (H, W, C)
        The scan, the three exposures above one another; of a colour scan the mean of its channels is used.
    reference : {"green", "red", "blue"}
        The channel that stays where it is.
    loss : {"ncc", "mse"}
        What the registration minimises.
    order : str
        The letters r, g and b in the order of the filters from the top of the plate down.
    crop : {"auto", "overlap", "none"} or (top, bottom, left, right)
        What to show: the part that all three channels cover without damaged borders, all that they cover, the whole
        rectangle of the reference, or a rectangle inside it, in pixels of the plate.
    features : {"auto", "edges", "fine", "intensity", "normalised"}
        What is compared. A colour is bright in one exposure and dark in the next, but its edge is an edge in all; fine
        structure is what differs from the mean around, and locally normalised it is divided by its scatter there too.
        "auto" tries them on each pair at a coarse level and takes what agrees, going round the channels, most
        precisely.
    max_shift : float or (float, float), optional
        Largest displacement between two rectangles to consider, in pixels; a fifth of the exposure unless given.
    exposures : mapping, optional
        The rectangle of each channel, by hand. Otherwise they are found, see `find_exposures`.
    threads : int
        As in `register`.

    Returns
    -------
    Colorization

    Raises
    ------
    InputError
        If the plate is too small, constant, or an option is unknown.

    Notes
    -----
    With :math:`d_p` the displacement found for the pair p of channels :math:`a` on :math:`b`, and :math:`\Sigma_p` its
    covariance with a term for the emulsion, which has warped since, the displacements c minimise

    .. math:: \sum_p (c_a - c_b - d_p)' \Sigma_p^{-1} (c_a - c_b - d_p), \qquad c_{reference} = 0.

    A pair that did not converge by itself counts next to nothing. Where three that did disagree by more than their
    covariances let expect, those of the answer are enlarged by the sum above over its two degrees of freedom. If they
    contradict each other, by four standard deviations, the answer is "not converged", and the two that correlate best
    make the picture.

    Exposures of more than about 1500 pixels a side are registered at half their size, or a quarter: what is finer is
    grain. Their displaced channels are sampled at full size, once.

    References
    ----------
    R. T. Birge, "The calculation of errors by the method of least squares", Phys. Rev. 40, 1932 (covariances enlarged
    by what the residuals show).

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
    _checks.one_of("features", features, FEATURES)
    crop = check_crop(crop)
    names_of(order)
    _checks.whole_number("threads", threads, at_least=1)
    scan = grey(plate)
    rectangles, inverted, notes = _exposures(scan, exposures, order)
    others = [name for name in CHANNELS if name != reference]
    pairs = [Pair(others[0], reference), Pair(others[1], reference), Pair(others[0], others[1])]
    found = _registered(scan, rectangles, pairs, loss, features, _reach(max_shift, rectangles), threads)
    warp = _WARP * min(_common(rectangles))
    solution = _solve(found, reference, warp)
    verdict, used = _judged(found, solution)
    if used != list(found):
        solution = _solve({p: found[p] for p in used}, reference, warp)._replace(closure=solution.closure)
    registrations = {p.moving: _agreed(found[p], solution, p.moving, verdict) for p in pairs[:2]}
    moves = {name: (r.dx, r.dy) for name, r in registrations.items()}
    rgb, shown = compose(scan, rectangles, moves, reference=reference, crop=crop, inverted=inverted)
    status, message = verdict
    return Colorization(
        rgb=rgb,
        reference=reference,
        registrations=registrations,
        exposures=rectangles,
        crop=shown,
        success=status == "converged",
        status=status,
        message="; ".join([message, *notes]),
        closure=(float(solution.closure[0]), float(solution.closure[1])),
        pairs={str(pair): result for pair, result in found.items()},
        inverted=inverted,
        notes=tuple(notes),
    )


def _exposures(
    scan: Image, given: Mapping[str, Rectangle] | None, order: str
) -> tuple[dict[str, Rectangle], bool, list[str]]:
    """Return the rectangles, whether the scan is a negative, and what there is to say about both."""
    if given is None:
        found = find_exposures(scan, order=order)
        rectangles, inverted, seen = found.rectangles, found.inverted, found.found
    else:
        rectangles, inverted, seen = check_exposures(given, scan.shape), looks_negative(scan), True
    notes = ["the scan is a negative: black and white are exchanged"] if inverted else []
    if not seen:
        notes.append("no frames were seen between the exposures: equal thirds were taken, look at them")
    return rectangles, inverted, notes


def _reach(max_shift: float | tuple[float, float] | None, rectangles: Mapping[str, Rectangle]) -> tuple[float, float]:
    """Return the largest displacement along x and y between the reference and another channel."""
    if max_shift is None:
        height, width = _common(rectangles)
        return width / 5, height / 5
    both = (max_shift, max_shift) if np.ndim(max_shift) == 0 else _checks.pair_of_numbers("max_shift", max_shift)
    return _checks.positive_number("max_shift", both[0]), _checks.positive_number("max_shift", both[1])


def _common(rectangles: Mapping[str, Rectangle]) -> tuple[int, int]:
    """Return the largest height and width that all rectangles have."""
    sides = np.array(list(rectangles.values()))
    return int((sides[:, 1] - sides[:, 0]).min()), int((sides[:, 3] - sides[:, 2]).min())


def _registered(
    scan: Image,
    rectangles: Mapping[str, Rectangle],
    pairs: list[Pair],
    loss: str,
    features: str,
    reach: tuple[float, float],
    threads: int,
) -> dict[Pair, Registration]:
    """Register the three pairs of channels, at the size that shows what there is to see."""
    height, width = _common(rectangles)
    factor = 2 ** max(0, int(math.log2(min(height, width) / _ENOUGH)))
    channels = {
        name: block_mean(scan[top : top + height, left : left + width], factor)
        for name, (top, _, left, _) in rectangles.items()
    }
    # between the two channels that move, twice as far
    reaches = {p: (n * reach[0] / factor, n * reach[1] / factor) for p, n in zip(pairs, (1, 1, 2), strict=True)}
    options = Options((1.0, 1.0), loss=loss, features=features, border=_BORDER, threads=threads)
    found = registered(channels, reaches, options, _WARP * min(height, width) / factor)
    return {pair: _enlarged(result, factor) for pair, result in found.items()}


def _solve(found: Mapping[Pair, Registration], reference: str, warp: float) -> _Solution:
    """Return the displacements from the reference that agree best with those of two or three pairs."""
    names = [name for name in CHANNELS if name != reference]
    normal, right = np.zeros((4, 4)), np.zeros(4)
    for pair, result in found.items():
        design = np.zeros((2, 4))
        for name, sign in ((pair.moving, 1.0), (pair.reference, -1.0)):
            if name != reference:
                design[:, 2 * names.index(name) : 2 * names.index(name) + 2] = sign * np.eye(2)
        weight = np.linalg.inv(_trusted(result, warp))
        normal += design.T @ weight @ design
        right += design.T @ weight @ np.array([result.dx, result.dy])
    covariance = np.linalg.inv(normal)
    solution = covariance @ right
    left, contradiction = np.zeros(2), 0.0
    if len(found) == 3:
        left, contradiction = closure(found, warp)
        if all(result.success for result in found.values()):  # their disagreement, on two axes, shows in the error bars
            covariance *= max(1.0, contradiction**2 / 2)
    parts = {name: np.s_[2 * n : 2 * n + 2] for n, name in enumerate(names)}
    return _Solution(
        moves={name: solution[part] for name, part in parts.items()},
        covariances={name: np.asarray(covariance[part, part], np.float64) for name, part in parts.items()},
        closure=left,
        contradiction=contradiction,
    )


def _trusted(result: Registration, warp: float) -> NDArray[np.float64]:
    """Return the covariance that a pair counts with: its own, the warp of the emulsion, and doubt."""
    own = result.covariance if np.isfinite(result.covariance).all() else 1e6 * np.eye(2)
    trusted = own + warp**2 * np.eye(2)
    return trusted if result.success else _DOUBTED * (trusted + np.eye(2))


def _judged(found: Mapping[Pair, Registration], solution: _Solution) -> tuple[tuple[str, str], list[Pair]]:
    """Return the status and its sentence, and the pairs that make the picture."""
    sure = [pair for pair, result in found.items() if result.success]
    doubted = {pair: result for pair, result in found.items() if not result.success}
    if len(sure) == 3 and solution.contradiction > _CONTRADICTION:
        x, y = solution.closure
        worst = min(found, key=lambda pair: found[pair].ncc)
        sentence = (
            f"the three pairs of channels contradict each other: going round them ends ({x:.1f}, {y:.1f}) px from "
            f"where it began; {worst}, which correlate least, were left out: look at the picture, or try other features"
        )
        return ("not converged", sentence), [pair for pair in found if pair != worst]
    if len(sure) == 3:
        return ("converged", "converged"), list(found)
    if len(sure) == 2:
        [(pair, result)] = doubted.items()
        return ("converged", f"converged, though {pair} alone did not ({result.status})"), list(found)
    status = next(iter(doubted.values())).status
    return (status, "; ".join(f"{pair}: {result.message}" for pair, result in doubted.items())), list(found)


def _agreed(pair: Registration, solution: _Solution, name: str, verdict: tuple[str, str]) -> Registration:
    """Return the registration of one channel on the reference with what all pairs together say."""
    move, covariance = solution.moves[name], solution.covariances[name]
    status, message = verdict
    if status not in ("converged", "not converged") and not pair.success:
        status, message = pair.status, pair.message
    height, width = pair.window[1] + pair.window[0], pair.window[3] + pair.window[2]
    return replace(
        pair,
        dx=float(move[0]),
        dy=float(move[1]),
        covariance=covariance,
        success=status == "converged",
        status=status,
        message=message,
        overlap=max(0.0, 1 - abs(move[0]) / width) * max(0.0, 1 - abs(move[1]) / height),
    )


def _enlarged(result: Registration, factor: int) -> Registration:
    """Return a registration of images that were reduced by a power of two in pixels of the full ones."""
    if factor == 1:
        return result
    trace = result.trace.copy()
    trace["level"] += int(math.log2(factor))
    trace["dx"] *= factor
    trace["dy"] *= factor
    top, bottom, left, right = (factor * side for side in result.window)
    runner = result.runner_up
    return replace(
        result,
        dx=factor * result.dx,
        dy=factor * result.dy,
        covariance=factor**2 * result.covariance,
        window=(top, bottom, left, right),
        curvature=result.curvature / factor**2,
        runner_up=None if runner is None else (factor * runner[0], factor * runner[1], runner[2]),
        trace=trace,
    )
