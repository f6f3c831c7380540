"""The channels of a plate, compared two by two by whichever feature tells best how far they are apart.

A red robe is bright in one channel and dark in another: what to compare is tried, pair by pair, and believed where
going round the three channels ends where it began.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks
from ._checks import Image
from .comparison import Comparison
from .options import Options
from .pyramid import Masked, smooth
from .result import Registration
from .scans import block_mean
from .views import Both, Views, usable

FEATURES = ("auto", "edges", "fine", "intensity", "normalised")

# pixels along the short side when features are tried
_TRIED = 360
# how many times as precise others have to be than edges, which are where they are whatever the colour
_PREFERRED = 1.5
# of the standard deviation of a warp: what difference in precision is none
_NEGLIGIBLE = 0.1
# pixels, and the share of the short side: the width of the mean and the scatter of a locally normalised form
_LOCAL, _LOCAL_SHARE = 4.0, 0.01


class Pair(NamedTuple):
    """Two channels, the moving one first."""

    moving: str
    reference: str

    def __str__(self) -> str:
        """Return the name that the pair goes by."""
        return f"{self.moving} on {self.reference}"


Tried = dict[Pair, dict[str, Registration]]


class Channel:
    """One channel, as it is and locally normalised; both are filtered once, for whatever they are compared with."""

    def __init__(self, image: Image) -> None:
        self._image = image

    @cached_property
    def plain(self) -> Views:
        """The views of the channel as it is."""
        return _views(self._image)

    @cached_property
    def normalised(self) -> Views:
        """The views of the channel in shadow as in light."""
        return _views(normalised(self._image))


class Matching:
    """Two channels, and the attempts to lay one on the other; each is made once."""

    def __init__(self, reference: Channel, moving: Channel, options: Options) -> None:
        self._reference, self._moving, self._options = reference, moving, options

    @cached_property
    def _plain(self) -> Comparison:
        return Comparison(Both(self._reference.plain, self._moving.plain, self._options.threads), self._options)

    @cached_property
    def _normalised(self) -> Comparison:
        both = Both(self._reference.normalised, self._moving.normalised, self._options.threads)
        return Comparison(both, self._options)

    def by(self, features: str) -> Registration:
        """Return where an attempt by one of the features leads; the tiles have not been asked yet."""
        if features != "normalised":
            return self._plain.by(features)
        found = self._normalised.by("intensity")
        return replace(found, options={**found.options, "features": features})

    def asked(self, found: Registration) -> Registration:
        """Return a result, its status changed if the parts of the frame speak against it."""
        return (self._normalised if found.options["features"] == "normalised" else self._plain).asked(found)

    def best(self) -> Registration:
        """Return what `register` makes of the pair, left to itself."""
        return self._plain.best()


def registered(
    channels: Mapping[str, Image], reaches: Mapping[Pair, tuple[float, float]], options: Options, warp: float
) -> dict[Pair, Registration]:
    """Register pairs of channels.

    Parameters
    ----------
    channels : dict
        The images, of one shape.
    reaches : dict
        The pairs, each with its largest displacement along x and y, in pixels.
    options : Options
        For all pairs, but for `max_shift`, which `reaches` gives; features "auto" tries all of them, at a coarse level
        first where the images are large.
    warp : float
        The standard deviation, in pixels, of a displacement's mean over images whose parts have moved on their own.
    """
    coarser = 1
    if options.features == "auto":
        coarser = max(1, round(min(next(iter(channels.values())).shape) / _TRIED))
    matchings = _matched(channels, reaches, options, coarser)
    if options.features != "auto":
        return {pair: matching.asked(matching.by(options.features)) for pair, matching in matchings.items()}
    found = _convincing(matchings, dict.fromkeys(matchings, FEATURES[1:]), warp / coarser)
    if coarser > 1:  # edges that were lost at the coarse level may be clear here
        matchings = _matched(channels, reaches, options, 1)
        again = {pair: tuple(dict.fromkeys((_compared(result), "edges"))) for pair, result in found.items()}
        found = _convincing(matchings, again, warp)
    for pair, result in found.items():
        if not result.success and (best := matchings[pair].best()).success:
            found[pair] = best
    return found


def closure(found: Mapping[Pair, Registration], warp: float) -> tuple[NDArray[np.float64], float]:
    """Return what is left after going round the three channels, and how many of its standard deviations that is."""
    first, second, across = found.values()
    left = np.array([first.dx - second.dx - across.dx, first.dy - second.dy - across.dy])
    covariance = sum((r.covariance for r in found.values()), 3 * warp**2 * np.eye(2))
    if not np.isfinite(covariance).all():
        return left, 0.0
    return left, math.sqrt(float(left @ np.linalg.solve(covariance, left)))


def _matched(
    channels: Mapping[str, Image], reaches: Mapping[Pair, tuple[float, float]], options: Options, coarser: int
) -> dict[Pair, Matching]:
    """Return the pairs of channels at a resolution that is coarser by a whole factor."""
    seen = {name: Channel(image if coarser == 1 else block_mean(image, coarser)) for name, image in channels.items()}
    return {
        pair: Matching(
            seen[pair.reference],
            seen[pair.moving],
            replace(options, max_shift=(max(x / coarser, 1.0), max(y / coarser, 1.0))),
        )
        for pair, (x, y) in reaches.items()
    }


def _convincing(
    matchings: Mapping[Pair, Matching], features: Mapping[Pair, tuple[str, ...]], warp: float
) -> dict[Pair, Registration]:
    """Return the attempts that agree and are precise; the tiles are asked of what is chosen."""
    tried = {pair: {name: matching.by(name) for name in features[pair]} for pair, matching in matchings.items()}
    asked: set[tuple[Pair, str]] = set()
    while True:
        chosen = set(choose(tried, warp).items())
        if chosen <= asked:
            return {pair: tried[pair][name] for pair, name in sorted(chosen, key=lambda c: list(matchings).index(c[0]))}
        for pair, name in chosen - asked:
            tried[pair][name] = matchings[pair].asked(tried[pair][name])
        asked |= chosen


def _compared(found: Registration) -> str:
    """Return what a result compared."""
    return str(found.options["features"])


def choose(tried: Tried, warp: float) -> dict[Pair, str]:
    """Return what to compare on each pair: what agrees, going round the channels, and is precise."""
    pairs = list(tried)
    best = {pair: min(tried[pair], key=lambda f, of=tried[pair]: (not of[f].success, _spread(of[f]))) for pair in pairs}  # type: ignore[misc]

    def cost(choice: tuple[str, ...]) -> float:
        found = {pair: tried[pair][name] for pair, name in zip(pairs, choice, strict=True)}
        if not all(result.success for result in found.values()):
            return math.inf
        closed = closure(found, warp)[1]
        spreads = sum(math.log(_spread(result) + _NEGLIGIBLE * warp) for result in found.values())
        return closed**2 + 2 * (spreads + math.log(_PREFERRED) * sum(name != "edges" for name in choice))

    choices = list(itertools.product(*(tried[pair] for pair in pairs)))
    cheapest = min(choices, key=cost)
    return dict(zip(pairs, cheapest, strict=True)) if math.isfinite(cost(cheapest)) else best


def _spread(result: Registration) -> float:
    """Return the root of the summed variances of a displacement, in pixels."""
    return math.sqrt(max(float(np.trace(result.covariance)), 0.0))


def _views(image: Image) -> Views:
    """Return the views of a channel whose levels are checked as those of any image are."""
    return Views(usable(*_checks.image("a channel", image)), Options.smooth)


def normalised(image: Image) -> Image:
    r"""Return an image less its local mean, divided by its local scatter: in shadow as in light.

    What scatters less than a tenth of the usual is left small, for it is noise.
    """
    wide = max(_LOCAL, _LOCAL_SHARE * min(image.shape))
    fine = image - smooth(Masked(image), wide).image
    scatter = np.sqrt(np.maximum(smooth(Masked(fine * fine), wide).image, 0))
    least = 0.1 * float(np.mean(scatter, dtype=np.float64))
    return np.asarray(fine / np.maximum(scatter, max(least, 1e-12)), image.dtype)
