r"""Colour, off unless asked for: balance, contrast and gamma, each a curve that can be followed back.

An archive wants no retouching, so nothing here happens by itself. What is asked for is measured on the picture once
and becomes three gains, a black and a white point and an exponent. They say everything that was done, are few enough
to be written down beside the picture, and `Adjustment.undo` takes them back.

Levels count from 0 (black) to 1 (white), integers by the range of their dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import InputError

Image = NDArray[Any]
Levels = NDArray[np.float64]

BALANCES = ("gray-world", "white-patch")
PERCENTILES = (0.5, 99.5)
"""The share of levels below black, and up to white, that a stretch of the contrast aims at unless told otherwise."""

_CHANNELS = ("red", "green", "blue")
_WHITE = 99.5  # percentile that is taken for the white of a channel: above lie specks of dust and scratches
_FINEST = 65536  # levels that are told apart when they are counted
_ROWS = 256  # of a picture, that are counted at a time


@dataclass(frozen=True)
class Adjustment:
    r"""What is done to the levels of each channel.

    Attributes
    ----------
    gains : (float, float, float)
        What red, green and blue are multiplied by.
    black, white : float
        The levels, after the gains and the same for all channels, that become 0 and 1.
    gamma : float
        The exponent's denominator: above 1 brightens the middle tones.

    Notes
    -----
    A level v of channel c becomes

    .. math:: \left(\frac{g_c v - b}{w - b}\right)^{1 / \gamma}

    clipped to [0, 1]. The curve never falls, so no tone overtakes another. Integers go through a table of this
    curve, rounded once, whatever has been asked for.

    Examples
    --------
    >>> import numpy as np
    >>> picture = np.array([[[10, 20, 40], [100, 200, 250]]], np.uint8)
    >>> brighter = Adjustment(gamma=1.5)
    >>> brighter.apply(picture)
    array([[[ 29,  47,  74],
            [137, 217, 252]]], dtype=uint8)
    >>> brighter.undo(brighter.apply(picture))
    array([[[ 10,  20,  40],
            [100, 200, 251]]], dtype=uint8)
    """

    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    black: float = 0.0
    white: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.gains, tuple | list) or len(self.gains) != len(_CHANNELS):
            raise InputError(f"gains is {_checks.in_words(self.gains)}; give three numbers, for red, green and blue")
        for name, gain in zip(_CHANNELS, self.gains, strict=True):
            _checks.positive_number(f"the gain of {name}", gain)
        _checks.positive_number("gamma", self.gamma)
        _checks.finite_number("black", self.black)
        _checks.finite_number("white", self.white)
        if not self.black < self.white:
            raise InputError(f"black is {self.black:g} and white is {self.white:g}; give a black below the white")

    @property
    def identity(self) -> bool:
        """Whether nothing is changed."""
        return self == Adjustment()

    def curve(self, channel: int, levels: ArrayLike) -> Levels:
        """Return what levels of one channel (0 red, 1 green, 2 blue) become, in [0, 1]."""
        stretched = (np.asarray(levels, np.float64) * self.gains[channel] - self.black) / (self.white - self.black)
        curved: Levels = np.clip(stretched, 0.0, 1.0) ** (1.0 / self.gamma)
        return curved

    def inverse(self, channel: int, levels: ArrayLike) -> Levels:
        """Return the levels, in [0, 1], that `curve` turns into these."""
        straight = np.clip(np.asarray(levels, np.float64), 0.0, 1.0) ** self.gamma
        found: Levels = (straight * (self.white - self.black) + self.black) / self.gains[channel]
        return np.clip(found, 0.0, 1.0)

    def apply(self, picture: ArrayLike) -> Image:
        """Return the adjusted picture.

        Parameters
        ----------
        picture : array_like of shape (H, W, 3)
            uint8, uint16, or floats in [0, 1].

        Returns
        -------
        ndarray
            A new array of its shape and dtype.

        Raises
        ------
        InputError
            If it is no colour picture of such levels.
        """
        return self._mapped(picture, inverse=False)

    def undo(self, picture: ArrayLike) -> Image:
        """Return the picture that `apply` was given.

        To rounding: what was rounded together, or clipped beyond black and white, cannot be told apart any more. Takes
        and returns what `apply` does.
        """
        return self._mapped(picture, inverse=True)

    def clipped(self, picture: ArrayLike) -> float:
        """Return the share of levels that `apply` loses at black or white, though they were neither before."""
        lost = total = 0.0
        for channel, counts in enumerate(_histograms(_picture(picture))):
            levels = np.linspace(0.0, 1.0, len(counts))
            stretched = (levels * self.gains[channel] - self.black) / (self.white - self.black)
            inside = (levels > 0) & (levels < 1)
            lost += float(counts[inside & ((stretched < 0) | (stretched > 1))].sum())
            total += float(counts.sum())
        return lost / total

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers that say everything."""
        return {"gains": list(self.gains), "black": self.black, "white": self.white, "gamma": self.gamma}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Adjustment:
        """Rebuild what `to_dict` returned."""
        try:
            red, green, blue = data["gains"]
            return cls((red, green, blue), data["black"], data["white"], data["gamma"])
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "this is no adjustment of colours; give gains (three numbers), black, white and gamma"
            ) from error

    def _mapped(self, picture: ArrayLike, *, inverse: bool) -> Image:
        """Send each channel through its curve, integers by a table."""
        source = _picture(picture)
        made = np.empty_like(source)
        curve = self.inverse if inverse else self.curve
        for channel in range(3):
            if source.dtype.kind == "f":
                made[..., channel] = curve(channel, source[..., channel])
            else:
                top = int(np.iinfo(source.dtype).max)
                table = np.rint(curve(channel, np.arange(top + 1) / top) * top).astype(source.dtype)
                for first in range(0, len(source), _ROWS):  # a table look-up makes indices of 64 bits
                    rows = slice(first, first + _ROWS)
                    made[rows, :, channel] = table[source[rows, :, channel]]
        return made


def measure(
    picture: ArrayLike,
    *,
    balance: str | None = None,
    contrast: bool | tuple[float, float] = False,
    gamma: float = 1.0,
) -> Adjustment:
    r"""Find what to do to the levels of a picture; each part is left alone unless it is asked for.

    Parameters
    ----------
    picture : array_like of shape (H, W, 3)
        uint8, uint16, or floats in [0, 1].
    balance : {"gray-world", "white-patch"}, optional
        Make the means of the three channels equal, or their whites (the 99.5th percentiles).
    contrast : bool or (float, float)
        Stretch the levels between two percentiles of all channels together to the full range; by default between 0.5
        and 99.5. Because black and white are shared by the channels, the balance stays as it is.
    gamma : float
        Above 1 brightens the middle tones, below 1 darkens them.

    Returns
    -------
    Adjustment

    Raises
    ------
    InputError
        If an argument is not as described, or a channel that is to be balanced is black everywhere.

    Notes
    -----
    The gains keep the mean level of the picture, unless that would push a highlight beyond white: then all three are
    lowered together until none is. Balance therefore clips nothing, and neither does gamma; a stretch clips what lies
    outside its percentiles (`Adjustment.clipped` says how much).

    References
    ----------
    G. Buchsbaum, "A spatial processor model for object colour perception", J. Franklin Institute 310, 1980 (the grey
    world); E. H. Land and J. J. McCann, "Lightness and retinex theory", J. Opt. Soc. Am. 61, 1971 (the white patch).

    Examples
    --------
    >>> import numpy as np
    >>> reddish = np.array([[[0.8, 0.4, 0.4], [0.4, 0.2, 0.2]]])
    >>> found = measure(reddish, balance="gray-world")
    >>> bool(np.ptp(found.apply(reddish), axis=2).max() < 1e-12)
    True
    """
    source = _picture(picture)
    if balance is not None:
        _checks.one_of("balance", balance, BALANCES)
    exponent = _checks.positive_number("gamma", gamma)
    percentiles = _percentiles(contrast)
    gains = (1.0, 1.0, 1.0)
    black, white = 0.0, 1.0
    if balance is not None or percentiles is not None:
        counts = _histograms(source)
        if balance is not None:
            gains = _gains(counts, balance)
        if percentiles is not None:
            black, white = _range(counts, gains, percentiles)
    return Adjustment(gains, black, white, exponent)


def _percentiles(contrast: bool | tuple[float, float]) -> tuple[float, float] | None:
    """Return the two percentiles that are meant, if any."""
    if isinstance(contrast, bool | np.bool_):
        return PERCENTILES if contrast else None
    low, high = _checks.pair_of_numbers("contrast", contrast)
    if not 0 <= low < high <= 100:
        raise InputError(f"contrast is {(low, high)}; give two percentiles, 0 <= low < high <= 100")
    return low, high


def _picture(picture: ArrayLike) -> Image:
    """Return a colour picture whose levels have a known range."""
    source = np.asarray(picture)
    if source.ndim != 3 or source.shape[2] != 3 or source.size == 0:
        raise InputError(f"the picture has shape {source.shape}; give a colour picture of shape (H, W, 3)")
    if source.dtype.name not in ("uint8", "uint16") and source.dtype.kind != "f":
        raise InputError(f"the picture has dtype {source.dtype}; give uint8, uint16 or floats in [0, 1]")
    if source.dtype.kind == "f" and not (np.min(source) >= 0 and np.max(source) <= 1):
        low, high = float(np.min(source)), float(np.max(source))
        raise InputError(f"the picture's levels run from {low:.6g} to {high:.6g}; give floats in [0, 1]")
    return source


def _histograms(source: Image) -> list[Levels]:
    """Count the levels of each channel; floats to 16 bits, which is finer than a percentile needs."""
    top = int(np.iinfo(source.dtype).max) if source.dtype.kind in "iu" else _FINEST - 1
    counts = [np.zeros(top + 1, np.float64) for _ in range(3)]
    for first in range(0, len(source), _ROWS):
        rows = source[first : first + _ROWS]
        whole = rows if source.dtype.kind in "iu" else np.rint(rows * top).astype(np.uint16)
        for channel in range(3):
            counts[channel] += np.bincount(whole[..., channel].ravel(), minlength=top + 1)
    return counts


def _gains(counts: list[Levels], balance: str) -> tuple[float, float, float]:
    """Return the gains that make the means, or the whites, of the channels equal."""
    levels = np.linspace(0.0, 1.0, len(counts[0]))
    means = np.array([count @ levels / count.sum() for count in counts])
    tones = means if balance == "gray-world" else np.array([_percentile(levels, count, _WHITE) for count in counts])
    for name, tone in zip(_CHANNELS, tones, strict=True):
        if tone <= 0:
            raise InputError(
                f"the {name} channel is black, so that no gain can balance it with the others; leave the balance out"
            )
    gains = 1.0 / tones
    gains *= means.mean() / (gains * means).mean()
    peak = max(gain * levels[np.flatnonzero(count)[-1]] for gain, count in zip(gains, counts, strict=True))
    gains /= max(peak, 1.0)
    return float(gains[0]), float(gains[1]), float(gains[2])


def _range(
    counts: list[Levels], gains: tuple[float, float, float], percentiles: tuple[float, float]
) -> tuple[float, float]:
    """Return the black and the white that the percentiles of all channels together ask for."""
    levels = np.concatenate([np.linspace(0.0, gain, len(count)) for gain, count in zip(gains, counts, strict=True)])
    order = np.argsort(levels, kind="stable")
    levels, together = levels[order], np.concatenate(counts)[order]
    black, white = (_percentile(levels, together, share) for share in percentiles)
    return (black, white) if black < white else (0.0, 1.0)  # one level only: there is nothing to stretch


def _percentile(levels: Levels, counts: Levels, share: float) -> float:
    """Return the lowest level that this percentage of the counts does not exceed."""
    reached = np.cumsum(counts)
    return float(levels[min(int(np.searchsorted(reached, share / 100 * reached[-1])), len(levels) - 1)])
