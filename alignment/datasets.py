"""Images whose displacement is known: a glass plate to colour, and pairs to register.

Everything is made from one photograph that matplotlib ships, so nothing is downloaded. The displacements are made by a
Fourier series, not by the bilinear shift that this package estimates with: a generator and an estimator that shared a
formula would also share its errors. The content moves and fresh content enters at the borders; nothing wraps round.

Every truth follows the one convention of the package, ``aligned(x, y) = channel(x + dx, y + dy)``: positive dx means
that the content of the displaced image lies dx pixels to the right of the reference's, positive dy that it lies lower.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from . import _checks
from ._checks import InputError
from .imagefiles import as_float, read_image, to_dtype

__all__ = ["DemoPlate", "ShiftedPair", "demo_plate", "shifted_pair"]

Image = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Rectangle = tuple[int, int, int, int]

_DISPLACEMENTS: Final = {"red": (-2.58, 9.37), "blue": (3.24, -6.71)}
_ORDER: Final = ("blue", "green", "red")  # from the top of the plate
_RGB: Final = {"red": 0, "green": 1, "blue": 2}

_HEIGHT, _WIDTH = 372, 440  # of one exposure, in pixels
_TOP, _LEFT = 2, 32  # where green's exposure lies on the photograph
_FRAME: Final = 9.0  # pixels of black frame inside an exposure
_PAPER: Final = 16  # pixels of white paper around the plate
_REACH: Final = 10.0  # the largest displacement for which every visible pixel is photograph

# floor, gain and exponent: the three exposures were made through different filters, for different times
_TONES: Final = {"red": (0.06, 0.82, 0.85), "green": (0.04, 0.9, 1.0), "blue": (0.05, 0.86, 1.12)}
_BLACK, _WHITE = 0.03, 0.96

_GREY: Final = (0.299, 0.587, 0.114)
_SATURATION, _STRONGEST = 0.6, 0.2  # how far a colour may depart from grey

_MOST: Final = 100_000  # specks or scratches on one plate
_FAR: Final = 1e6  # pixels; what no photograph allows is refused by its size afterwards
_STRONG: Final = 1e6  # of a gain, an offset or noise, in units of the full scale

_MARGIN: Final = 8  # pixels of the photograph that no window comes nearer to its border than


@dataclass(frozen=True, eq=False)
class DemoPlate:
    """A glass plate with three exposures, and what is true about it.

    Attributes
    ----------
    plate : ndarray of shape (H, W)
        The scan: three exposures stacked vertically, blue on top, then green, then red; ``uint8`` or ``uint16``.
    truth : dict
        For "red" and "blue" the pair (dx, dy) in pixels, so that ``aligned(x, y) = channel(x + dx, y + dy)`` lies on
        green, where x and y count from the corner of each exposure's own rectangle. Positive dx: the channel's
        content lies to the right of green's; positive dy: lower.
    exposures : dict
        For "blue", "green" and "red" the rectangle (top, bottom, left, right) in pixels of the plate, bottom and right
        exclusive. All three have the same size and include the black frame.
    scene : ndarray of shape (h, w, 3)
        The colour picture that a perfect alignment recovers, in [0, 1], without frame, dust and the differences in
        exposure; on the pixels of green's rectangle.
    """

    plate: Image
    truth: dict[str, tuple[float, float]]
    exposures: dict[str, Rectangle]
    scene: Floats

    def exposure(self, channel: str) -> Image:
        """Cut the exposure of one channel out of the plate.

        Parameters
        ----------
        channel : {"blue", "green", "red"}

        Returns
        -------
        ndarray of shape (h, w)
            A view of the plate, in its dtype.
        """
        if channel not in self.exposures:
            raise InputError(f"there is no exposure named {channel!r}; choose blue, green or red.")
        top, bottom, left, right = self.exposures[channel]
        return self.plate[top:bottom, left:right]


@dataclass(frozen=True, eq=False)
class ShiftedPair:
    """Two views of one scene, and the displacement between them.

    Iterating gives the two images, so that ``reference, moving = pair``.

    Attributes
    ----------
    reference, moving : ndarray of shape (H, W)
        Grey images; without noise, gain and offset in [0, 1].
    dx, dy : float
        The truth in pixels: ``moving(x + dx, y + dy)`` lies on ``reference(x, y)``. Positive dx: the moving image's
        content lies to the right of the reference's; positive dy: lower.
    """

    reference: Image
    moving: Image
    dx: float
    dy: float

    def __iter__(self) -> Iterator[Image]:
        yield self.reference
        yield self.moving


def demo_plate(
    *,
    seed: int = 0,
    dtype: npt.DTypeLike = "uint16",
    displacements: Mapping[str, tuple[float, float]] | None = None,
    grain: float = 0.008,
    dust: int = 25,
    scratches: int = 3,
    frame: bool = True,
    tones: bool = True,
) -> DemoPlate:
    r"""Make a glass plate whose displacements are known.

    Parameters
    ----------
    seed : int
        Chooses the grain, the dust, the scratches and the edges of the frames; the same seed gives the same plate.
    dtype : {"uint16", "uint8"}
        Type of the plate's grey levels.
    displacements : mapping, optional
        For "red" and "blue" the pair (dx, dy) in pixels against green, each at most 10 in size; a channel left out is
        not displaced. The default is ``{"red": (-2.58, 9.37), "blue": (3.24, -6.71)}``.
    grain : float
        Standard deviation of the film grain, in fractions of the full scale, independent from pixel to pixel.
    dust, scratches : int
        Number of specks in each exposure, and of scratches along the plate. 0 leaves them out.
    frame : bool
        Whether the black frame covers the borders of each exposure. It does not move with the content.
    tones : bool
        Whether the exposures differ in floor, gain and gamma, as plates do; otherwise they are the plain channels.

    Returns
    -------
    DemoPlate
        The plate, the true displacements, the rectangles of the exposures and the scene.

    Raises
    ------
    InputError
        If an argument has no meaning, or matplotlib's sample photograph is missing.

    Notes
    -----
    Channel c with displacement :math:`(d_x, d_y)` records :math:`P_c(x - d_x, y - d_y)`, where :math:`P_c` is the
    Fourier series through the samples of the photograph, extended by reflection. The series is evaluated on the whole
    photograph and cropped afterwards, so what enters at the borders is photograph as well.

    Two channels of different colour have no displacement that every window and every smoothing agree on. With the full
    colours of this photograph the best correlation of the undisplaced channels lies up to 0.1 pixels from (0, 0) (in
    the middle 70 to 90 per cent, at a smoothing of 0.8 pixels). The colours are muted first, which leaves 0.03
    pixels. The edges of the original channels lie within 0.02 pixels of each other.

    Examples
    --------
    >>> from alignment.datasets import demo_plate
    >>> demo = demo_plate(dtype="uint8")
    >>> demo.plate.shape, demo.plate.dtype.name
    ((1148, 472), 'uint8')
    >>> demo.truth["red"]
    (-2.58, 9.37)
    >>> demo.exposures["green"]
    (388, 760, 16, 456)
    >>> demo.exposure("green").shape
    (372, 440)
    """
    to_dtype(np.zeros(1), dtype)  # refuses what it must before the work
    rng = _generator(seed)
    moves = _plate_displacements(displacements)
    _checks.number_between("grain", grain, 0.0, 1.0)
    for what, count in (("dust", dust), ("scratches", scratches)):
        if _checks.whole_number(what, count) > _MOST:
            raise InputError(f"{what} is {count}; give a whole number up to {_MOST}.")
    for what, chosen in (("frame", frame), ("tones", tones)):
        if not isinstance(chosen, bool | np.bool_):
            raise InputError(f"{what} is {_checks.in_words(chosen)}; give True or False.")
    photograph = _muted(_photograph())
    crop = np.s_[_TOP : _TOP + _HEIGHT, _LEFT : _LEFT + _WIDTH]

    height, width = 3 * _HEIGHT + 2 * _PAPER, _WIDTH + 2 * _PAPER
    plate = np.full((height, width), _WHITE)
    glass = _soft_rectangle(rng, (height, width), inset=_PAPER - 3.0, radius=3.0, wobble=1.0)
    plate += glass * (_BLACK - plate)

    exposures: dict[str, Rectangle] = {}
    for number, name in enumerate(_ORDER):
        top = _PAPER + number * _HEIGHT
        exposures[name] = (top, top + _HEIGHT, _PAPER, _PAPER + _WIDTH)
        content = _displace(photograph[..., _RGB[name]], *moves[name])[crop].clip(0.0, 1.0)
        if tones:
            floor, gain, exponent = _TONES[name]
            content = floor + gain * content**exponent
        window = _soft_rectangle(rng, content.shape, inset=_FRAME, radius=5.0, wobble=0.8)
        if frame:
            content = _BLACK + window * (content - _BLACK)
        _sprinkle(rng, content, dust)
        plate[top : top + _HEIGHT, _PAPER : _PAPER + _WIDTH] = content
    _scratch(rng, plate, scratches)
    plate += rng.normal(0.0, 1.0, plate.shape) * grain * (0.3 + 0.7 * glass)
    return DemoPlate(
        plate=to_dtype(plate, dtype),
        truth={name: moves[name] for name in ("red", "blue")},
        exposures=exposures,
        scene=photograph[crop].copy(),
    )


def shifted_pair(
    dx: float = 3.3,
    dy: float = -2.7,
    *,
    shape: tuple[int, int] = (240, 200),
    area: int = 2,
    noise: float = 0.0,
    gain: float = 1.0,
    offset: float = 0.0,
    seed: int = 0,
    dtype: npt.DTypeLike = "float64",
) -> ShiftedPair:
    r"""Make a pair of grey images with a known displacement.

    Parameters
    ----------
    dx, dy : float
        Displacement in pixels: the moving image's content lies dx to the right of the reference's and dy lower, so that
        ``moving(x + dx, y + dy)`` lies on ``reference(x, y)``.
    shape : (int, int)
        Height and width in pixels of both images.
    area : int
        Each pixel is the mean of ``area`` x ``area`` pixels of the photograph, as a sensor integrates over its pixel.
        With 1 the pixels are the photograph's own and the images may be larger.
    noise : float
        Standard deviation of the independent Gaussian noise added to both images, in grey levels from 0 to 1.
    gain, offset : float
        The moving image is multiplied by the gain, and the offset is added, before the noise.
    seed : int
        Chooses the noise.
    dtype : {"float64", "float32"}
        Type of both images.

    Returns
    -------
    ShiftedPair
        Unpacks as ``reference, moving = pair``; holds the truth as ``dx`` and ``dy``.

    Raises
    ------
    InputError
        If an argument has no meaning, or the photograph, 512 pixels wide and 600 high, is too small for the shape and
        the displacement.

    Notes
    -----
    Both images sample the Fourier series P through the pixels of the photograph. With ``a = area``,

    .. math::

        reference(x, y) = \frac{1}{a^2} \sum_{i, j < a} P(a x + i, a y + j), \qquad
        moving(x, y) = \frac{1}{a^2} \sum_{i, j < a} P(a (x - d_x) + i, a (y - d_y) + j),

    which is exact for any real displacement. The values are not clipped, so the noise stays Gaussian and a gain may
    lead out of [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from alignment.datasets import shifted_pair
    >>> reference, moving = shifted_pair(4.0, -2.0, shape=(100, 120))
    >>> bool(np.allclose(moving[0:90, 10:120], reference[2:92, 6:116]))
    True
    """
    rng = _generator(seed)
    _checks.number_between("dx", dx, -_FAR, _FAR)
    _checks.number_between("dy", dy, -_FAR, _FAR)
    _checks.number_between("gain", gain, -_STRONG, _STRONG)
    _checks.number_between("offset", offset, -_STRONG, _STRONG)
    _checks.number_between("noise", noise, 0.0, _STRONG)
    _checks.number_between("area", _checks.whole_number("area", area, at_least=1), 1, 600)
    if not isinstance(dtype, str | type | np.dtype) or dtype not in ("float64", "float32", np.float64, np.float32):
        raise InputError(
            f"dtype is {_checks.in_words(dtype)}, but the pair is made of floats; choose float64 or float32."
        )
    photograph = _photograph() @ np.array(_GREY)
    moved = _displace(photograph, dx * area, dy * area)
    window = _window(photograph.shape, shape, area, (dy, dx))
    reference, moving = (_area_mean(image[window], area) for image in (photograph, moved))
    moving = gain * moving + offset
    if noise:
        reference = reference + rng.normal(0.0, noise, reference.shape)
        moving = moving + rng.normal(0.0, noise, moving.shape)
    return ShiftedPair(reference.astype(dtype), moving.astype(dtype), float(dx), float(dy))


# the photograph


@functools.cache
def _photograph() -> Floats:
    """Read matplotlib's sample photograph: shape (600, 512, 3), in [0, 1], read-only."""
    from matplotlib import cbook

    try:
        stored = read_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    except (InputError, OSError) as error:
        raise InputError(
            "the photograph grace_hopper.jpg that matplotlib ships cannot be read, though the demo images are made "
            "from it; install matplotlib with its sample data."
        ) from error
    image = as_float(stored).astype(np.float64)
    image.flags.writeable = False
    return image


def _muted(image: Floats) -> Floats:
    """Bring the colours nearer to grey: strong ones more than faint ones, none changes its side."""
    grey = (image @ np.array(_GREY))[..., np.newaxis]
    muted: Floats = grey + _SATURATION * _STRONGEST * np.tanh((image - grey) / _STRONGEST)
    return muted.clip(0.0, 1.0)


def _displace(image: Floats, dx: float, dy: float) -> Floats:
    """Return image(x - dx, y - dy) of the Fourier series through the reflected image: content moves right and down."""
    height, width = image.shape
    whole = np.concatenate([image, image[::-1]])
    whole = np.concatenate([whole, whole[:, ::-1]], axis=1)
    spectrum = np.fft.rfft2(whole)
    spectrum *= _phases(np.fft.fftfreq(2 * height), dy)[:, np.newaxis]
    spectrum *= _phases(np.fft.rfftfreq(2 * width), dx)
    displaced: Floats = np.fft.irfft2(spectrum, whole.shape)[:height, :width]
    return displaced


def _phases(frequencies: npt.NDArray[np.floating[Any]], move: float) -> npt.NDArray[np.complex128]:
    """Return the factors that move a series by `move` samples; the highest frequency has no sign and keeps a cosine."""
    factors: npt.NDArray[np.complex128] = np.exp(-2j * np.pi * frequencies * move)
    factors[np.abs(frequencies) == 0.5] = math.cos(math.pi * move)
    return factors


def _window(
    whole: tuple[int, ...], shape: tuple[int, int], area: int, move: tuple[float, float]
) -> tuple[slice, slice]:
    """Choose the part of the photograph to take, in its middle if the displaced content allows."""
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise InputError(
            f"shape is {_checks.in_words(shape)}, but an image has a height and a width; give for example (240, 200)."
        )
    parts = []
    for name, n, size, d in zip(("height", "width"), whole, shape, move, strict=True):
        _checks.whole_number(name, size, at_least=2)
        low = _MARGIN + math.ceil(max(d, 0.0) * area)
        high = n - size * area - _MARGIN - math.ceil(max(-d, 0.0) * area)
        if low > high:
            most = max((n - 2 * _MARGIN - math.ceil(abs(d) * area)) // area, 0)
            raise InputError(
                f"the {name} is {size} pixels, but for a displacement of {d:g} pixels and area={area} the photograph "
                f"allows at most {most}; reduce the shape, the displacement or the area."
            )
        start = min(max((n - size * area) // 2, low), high)
        parts.append(slice(start, start + size * area))
    return parts[0], parts[1]


def _area_mean(image: Floats, area: int) -> Floats:
    height, width = image.shape
    mean: Floats = image.reshape(height // area, area, width // area, area).mean(axis=(1, 3))
    return mean


# the plate


def _soft_rectangle(
    rng: np.random.Generator, shape: tuple[int, ...], *, inset: float, radius: float, wobble: float
) -> Floats:
    """Return 1 inside and 0 outside a rectangle with rounded corners and edges that a knife or a mask has left."""
    height, width = shape
    sides = [_smooth_noise(rng, n) * wobble + rng.normal(0.0, 0.08, n) for n in (height, height, width, width)]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    left_or_right = np.where(x < width / 2, sides[0][:, np.newaxis], sides[1][:, np.newaxis])
    top_or_bottom = np.where(y < height / 2, sides[2], sides[3])
    across = np.abs(x - (width - 1) / 2) - (width / 2 - inset - radius) + left_or_right
    along = np.abs(y - (height - 1) / 2) - (height / 2 - inset - radius) + top_or_bottom
    distance = np.hypot(across.clip(0.0), along.clip(0.0)) + np.minimum(np.maximum(across, along), 0.0) - radius
    inside: Floats = np.clip(0.5 - distance / 1.5, 0.0, 1.0)
    return inside


def _smooth_noise(rng: np.random.Generator, n: int) -> Floats:
    """Draw a slowly varying line of unit standard deviation."""
    kernel = np.exp(-0.5 * (np.arange(-40, 41) / 14.0) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    return np.convolve(rng.normal(0.0, 1.0, n + 80), kernel, mode="valid")


def _sprinkle(rng: np.random.Generator, image: Floats, count: int) -> None:
    """Put specks of dust on an exposure, most of them light, in place."""
    height, width = image.shape
    for _ in range(count):
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        radius = min(0.5 + rng.exponential(0.45), 2.5)
        level = _WHITE if rng.random() < 0.7 else _BLACK
        aspect = rng.uniform(0.6, 1.6)
        rows = np.arange(max(int(y) - 9, 0), min(int(y) + 10, height))
        columns = np.arange(max(int(x) - 9, 0), min(int(x) + 10, width))
        q = ((rows - y)[:, np.newaxis] * aspect) ** 2 + ((columns - x) / aspect) ** 2
        patch = np.ix_(rows, columns)
        image[patch] += 0.8 * np.exp(-0.5 * (q / radius**2) ** 2) * (level - image[patch])


def _scratch(rng: np.random.Generator, plate: Floats, count: int) -> None:
    """Draw thin, nearly straight scratches on the whole plate, in place."""
    height, width = plate.shape
    for _ in range(count):
        length = int(rng.uniform(0.08, 0.25) * height)
        start = int(rng.uniform(0, height - length))
        middle = rng.uniform(2 * _PAPER, width - 2 * _PAPER)
        t = np.linspace(-0.5, 0.5, length)
        path = middle + rng.normal(0.0, 25.0) * t + rng.normal(0.0, 6.0) * t**2
        profile = np.exp(-0.5 * ((np.arange(width) - path[:, np.newaxis]) / 0.6) ** 2)
        strength = rng.uniform(0.1, 0.3) * np.clip(4.0 * (0.5 - np.abs(t)), 0.0, 1.0)
        band = plate[start : start + length]
        band += strength[:, np.newaxis] * profile * (_WHITE - band)


def _plate_displacements(given: Mapping[str, tuple[float, float]] | None) -> dict[str, tuple[float, float]]:
    moves = {"red": (0.0, 0.0), "green": (0.0, 0.0), "blue": (0.0, 0.0)}
    if given is not None and not isinstance(given, Mapping):
        raise InputError(f"displacements is {_checks.in_words(given)}; give pairs (dx, dy) by the names red and blue.")
    for name, move in (_DISPLACEMENTS if given is None else given).items():
        if name not in ("red", "blue"):
            raise InputError(
                f"displacements names {_checks.in_words(name)}, but only red and blue move against green; use these."
            )
        try:
            dx, dy = move
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the displacement of {name} is {_checks.in_words(move)}; give a pair (dx, dy) in pixels."
            ) from error
        _checks.number_between(f"dx of {name}", dx, -_REACH, _REACH)
        _checks.number_between(f"dy of {name}", dy, -_REACH, _REACH)
        moves[name] = (float(dx), float(dy))
    return moves


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(_checks.whole_number("seed", seed))
