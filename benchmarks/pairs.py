"""Pairs of photographs whose displacement is known, made the way a sensor makes them: by averaging over areas.

Each pixel is the mean of f x f points of a finer photograph, f from 4 to 8, and the moving image averages the same
photograph with its pixels a whole number of fine points further: the truth is a multiple of 1/f px, exactly. No
interpolation by fractions of a pixel takes place, so that no estimator meets its own formula in the data. What enters
at the borders is photograph, and nothing wraps round.

The photographs are those that matplotlib and scikit-image carry on disk. They are too small to be the fine grid
themselves, so each is enlarged by the Fourier series through its reflection (a cosine series), which adds no detail
and no kinks. A pixel then covers between 2/3 of a photograph's pixel, where little is left for the size that was
asked for, and 2. Because the series, the enlargement and the averages act on rows and columns separately, the averages
are taken of the cosines instead of the enlarged picture: the same numbers, without ever holding the fine grid.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]

# name: (package that carries it, file)
PHOTOGRAPHS = {
    "grace_hopper": ("matplotlib", "grace_hopper.jpg"),
    "astronaut": ("skimage", "astronaut.png"),
    "camera": ("skimage", "camera.png"),
    "coffee": ("skimage", "coffee.png"),
    "retina": ("skimage", "retina.jpg"),
    "brick": ("skimage", "brick.png"),
    "motorcycle": ("skimage", "motorcycle_left.png"),
    "moon": ("skimage", "moon.png"),
    "rocket": ("skimage", "rocket.jpg"),
    "gravel": ("skimage", "gravel.png"),
    "chelsea": ("skimage", "chelsea.png"),
    "hubble": ("skimage", "hubble_deep_field.jpg"),
    "cell": ("skimage", "cell.png"),
    "coins": ("skimage", "coins.png"),
    "grass": ("skimage", "grass.png"),
    "tissue": ("skimage", "ihc.png"),
}
GREY = np.array([0.299, 0.587, 0.114])
# a photograph's pixel may at most be enlarged to this many pixels of the pair: beyond, the pair would be blurred
SOFTEST = 1.5
# and a pixel of the pair averages at most this many of the photograph's: beyond, small pairs would look alike
SHARPEST = 2.0
# grey levels: a crop with a smaller standard deviation is empty sky, whose displacement nobody can know
LEAST_CONTRAST = 0.02


class Pair(NamedTuple):
    """Two images and the truth: ``moving(x + dx, y + dy)`` lies on ``reference(x, y)``."""

    reference: Image
    moving: Image
    dx: float
    dy: float
    info: dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What the pairs of one row are like.

    Attributes
    ----------
    shape : (int, int)
        Height and width.
    reach : float
        Largest displacement along each axis: pixels, or below 1 a share of the frame.
    noise : float
        Standard deviation of the Gaussian noise in both images; the photographs span [0, 1].
    gain, offset : float
        The moving image is multiplied by the gain, and the offset is added, before the noise.
    frame : bool
        Whether a frame of 9-12 px, dark or bright, covers the borders of both images and does not move.
    channels : bool
        Whether the reference is the red channel of a colour photograph and the moving image its blue one.
    """

    shape: tuple[int, int] = (333, 375)
    reach: float = 15.0
    noise: float = 0.0
    gain: float = 1.0
    offset: float = 0.0
    frame: bool = False
    channels: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the largest abs(dx), abs(dy) in pixels."""
        height, width = self.shape
        return (self.reach * width, self.reach * height) if self.reach < 1 else (self.reach, self.reach)


def pairs(setting: Setting, count: int, *, seed: int = 0) -> Iterator[Pair]:
    """Yield pairs; number i of a seed is the same whatever the count."""
    names = usable(setting)
    if not names:
        raise SystemExit(f"no photograph on this disk is large enough for {setting}; install scikit-image")
    for index in range(count):
        yield pair(setting, index, seed=seed, names=names)


def pair(setting: Setting, index: int, *, seed: int = 0, names: list[str] | None = None) -> Pair:
    """Make number `index` of a setting's pairs: the photographs take turns, the rest is drawn."""
    names = names or usable(setting)
    name = names[index % len(names)]
    rng = np.random.default_rng([seed, index])
    channels = ("red", "blue") if setting.channels else ("grey", "grey")
    for _ in range(100):
        reference, moving, dx, dy, info = _draw(name, channels, setting, rng)
        if min(reference.std(), moving.std()) >= LEAST_CONTRAST:
            break
    moving = setting.gain * moving + setting.offset
    if setting.frame:
        cover, level = _frame(setting.shape, rng)
        reference, moving = (image + cover * (level - image) for image in (reference, moving))
    if setting.noise:
        reference = reference + rng.normal(0.0, setting.noise, reference.shape)
        moving = moving + rng.normal(0.0, setting.noise, moving.shape)
    info = {"photograph": name, "index": index, "seed": seed, **info}
    return Pair(reference.astype(np.float32), moving.astype(np.float32), dx, dy, info)


def usable(setting: Setting) -> list[str]:
    """Return the photographs on this disk that are large enough, and have colours if they must."""
    names = []
    for name in PHOTOGRAPHS:
        try:
            image = photograph(name)
        except (OSError, ImportError):
            continue
        if _least_scale(image.shape, setting) <= SOFTEST and (image.ndim == 3 or not setting.channels):
            names.append(name)
    return names


@functools.cache
def photograph(name: str) -> Image:
    """Read a photograph as it lies on disk, in [0, 1]; nothing is ever downloaded."""
    import imageio.v3 as iio

    package, file = PHOTOGRAPHS[name]
    if package == "matplotlib":
        import matplotlib

        folder = Path(matplotlib.get_data_path()) / "sample_data"
    else:
        import skimage

        folder = Path(skimage.__file__).parent / "data"
    return np.asarray(iio.imread(folder / file)) / 255.0


@functools.cache
def _series(name: str, channel: str) -> Image:
    """Return the coefficients of the cosine series through a channel's samples."""
    image = photograph(name)
    if image.ndim == 3:
        image = image @ GREY if channel == "grey" else image[..., {"red": 0, "green": 1, "blue": 2}[channel]]
    height, width = image.shape
    rows, columns = (2 / n * _cosines(n, np.arange(n)) for n in (height, width))
    rows[:, 0] /= 2
    columns[:, 0] /= 2
    return rows.T @ image @ columns


def _cosines(n: int, positions: Image) -> Image:
    """Return the n cosines through n samples, at positions in pixels: shape (len(positions), n)."""
    return np.cos(np.pi / n * np.outer(positions + 0.5, np.arange(n)))


def _least_scale(shape: tuple[int, ...], setting: Setting) -> float:
    """Return how many pixels of the pair a pixel of the photograph must fill at the least."""
    (mx, my), (height, width) = setting.bounds, setting.shape
    return max((height + math.ceil(my) + 2) / shape[0], (width + math.ceil(mx) + 2) / shape[1])


def _draw(
    name: str, channels: tuple[str, str], setting: Setting, rng: np.random.Generator
) -> tuple[Image, Image, float, float, dict[str, Any]]:
    """Draw a crop, a displacement and a fineness; return both images and the truth."""
    shape = photograph(name).shape[:2]
    fine = int(rng.integers(4, 9))
    least = _least_scale(shape, setting)
    scale = max(least, rng.uniform(1 / SHARPEST, min(1.0, SOFTEST)))
    steps = [int(rng.integers(-math.floor(m * fine), math.floor(m * fine) + 1)) for m in setting.bounds[::-1]]
    parts: list[tuple[Image, Image]] = []
    corners = []
    for n, size, step in zip(shape, setting.shape, steps, strict=True):
        # in fine points: the reference begins at `first`, the moving image `step` points earlier
        points = math.floor(n * scale * fine)
        first = int(rng.integers(max(step, 0), points - size * fine + min(step, 0) + 1))
        corners.append(first / (scale * fine))
        parts.append((
            _averages(n, first, size, fine, scale),
            _averages(n, first - step, size, fine, scale),
        ))  # fmt: skip
    (rows_b, rows_a), (columns_b, columns_a) = parts
    reference = rows_b @ _series(name, channels[0]) @ columns_b.T
    moving = rows_a @ _series(name, channels[1]) @ columns_a.T
    info = {"fineness": fine, "scale": round(scale, 3), "corner": [round(c, 1) for c in corners]}
    return reference, moving, steps[1] / fine, steps[0] / fine, info


def _averages(n: int, first: int, size: int, fine: int, scale: float) -> Image:
    r"""Return the cosines averaged over pixels of `fine` points each: shape (size, n).

    Notes
    -----
    The mean of f cosines at equal distances is the one in their middle times a constant: with :math:`\omega` radians
    from point to point, :math:`\sin(f \omega / 2) / (f \sin(\omega / 2))`.
    """
    middles = first + fine * np.arange(size) + (fine - 1) / 2
    half = np.pi / n * np.arange(n) / (scale * fine) / 2
    factor = np.ones(n)
    factor[1:] = np.sin(fine * half[1:]) / (fine * np.sin(half[1:]))
    return _cosines(n, (middles + 0.5) / (scale * fine) - 0.5) * factor


def _frame(shape: tuple[int, int], rng: np.random.Generator) -> tuple[Image, Image]:
    """Return how much of each pixel the frame of a scan covers, and its grey levels; the same for both images."""
    height, width = shape
    y, x = np.mgrid[0:height, 0:width].astype(float)
    depth = np.full(shape, np.inf)
    for distance in (y, height - 1 - y, x, width - 1 - x):
        along = x if distance is y or distance.flat[0] == height - 1 else y
        wobble = 0.4 * np.sin(along / rng.uniform(15, 40) + rng.uniform(0, 6))
        depth = np.minimum(depth, distance - rng.uniform(9, 12) - wobble)
    level = 0.03 if rng.random() < 0.5 else 0.97
    return np.clip(0.5 - depth, 0, 1), level + rng.normal(0, 0.01, shape)
