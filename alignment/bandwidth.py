r"""How wide a kernel a pair of images wants: as narrow as its noise allows, as wide as its noise demands.

A narrow kernel keeps the fine structure that tells a displacement best; a wide one keeps the noise out, which is all
there is at frequencies where the scene has faded away. Where the one begins and the other ends shows in the phases of
the two spectra: those of the scene agree, once the displacement is taken out, and those of noise point anywhere.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .gaussian import NARROWEST, WIDEST, Gaussian, nearest
from .pyramid import Masked

Window = tuple[int, int, int, int]

# pixels along the sides of the tiles whose spectra are looked at; which part of the window they cover, and how many
_TILE = 96
_LEAST = 32
_PART = 0.25
_TILES = 8
# what sensors fold back from beyond the grid pulls like a narrow kernel: in photographs up to about twice as much
REMAINS = 2.0
_GOLDEN = (math.sqrt(5) - 1) / 2
# the widths to choose from
_WIDTHS = np.linspace(NARROWEST, WIDEST, 8)


class Spectrum(NamedTuple):
    """Spectra of some tiles.

    Attributes
    ----------
    kx, ky : ndarray of shape (M,)
        Frequencies in radians per pixel.
    cross : ndarray of shape (T, M)
        The cross spectrum of each tile, less the displacement.
    power_b, power_a : ndarray of shape (M,)
        The power of the reference and of the moving image, summed over the tiles.
    share : float
        The part of the window that the tiles stand for.
    """

    kx: NDArray[np.float64]
    ky: NDArray[np.float64]
    cross: NDArray[np.complex128]
    power_b: NDArray[np.float64]
    power_a: NDArray[np.float64]
    share: float


class Choice(NamedTuple):
    """A kernel, and what goes with it.

    Attributes
    ----------
    kernel : Gaussian
    pull : ndarray of shape (2,)
        By how much it is expected to pull the displacement along x and y, in pixels.
    noisier : float
        The variance of the moving image's noise as a share of both images' together, in [0, 1].
    """

    kernel: Gaussian
    pull: NDArray[np.float64]
    noisier: float = 0.5


def choose(
    reference: Masked,
    moving: Masked,
    at: tuple[float, float],
    window: Window,
    *,
    widths: NDArray[np.float64] | tuple[float, ...] = _WIDTHS,
) -> Choice | None:
    r"""Return the Gaussian with which the displacement of a pair is expected to come out most precisely.

    Parameters
    ----------
    reference, moving : Masked
    at : (float, float)
        (dx, dy) in pixels, to a fraction of a pixel.
    window : (top, bottom, left, right)
        The pixels of the reference that are going to be compared.
    widths : sequence of float
        The sigmas to choose from.

    Returns
    -------
    Choice or None
        None where no tile of the window is free of masked pixels.

    Notes
    -----
    Let :math:`C(k) = \overline{\hat B(k)} \hat A(k) e^{i k d}` be the cross spectrum of tiles that fade out towards
    their borders. For one scene S in both images and noise of any spectra, :math:`E \operatorname{Re} C = S`, and
    :math:`\operatorname{Im} C` is nothing but noise. Both images smoothed by :math:`e^{-\sigma^2 k^2 / 2}` make the
    weight :math:`W = e^{-\sigma^2 k^2}`, and the displacement that fits best has the covariance

    .. math:: H^{-1} \left(\sum W^2 k k' (\operatorname{Im} C)^2\right) H^{-1}, \qquad
        H = \sum W k k' \operatorname{Re} C

    A narrow Gaussian is more than the pixel grid carries: it comes back from beyond the grid's frequency, at
    :math:`k \mp 2\pi`, as :math:`\epsilon_\mp = e^{-2\pi^2\sigma^2 \pm 2\pi\sigma^2 |k|}` and, in the sum of the taps,
    as :math:`\eta = e^{-2\pi^2\sigma^2}`. With :math:`e = \epsilon_- - \epsilon_+`,
    :math:`t = \epsilon_- + \epsilon_+ - 2\eta` and w = W Re C, it pulls the fraction f of a displacement along an axis
    by

    .. math:: b = \frac{\sum w \left[e \sin 2\pi f\,(|k| - 2\pi e \cos 2\pi f)
        - 2\pi t^2 (1 - \cos 2\pi f) \sin 2\pi f\right]}{\sum w |k| (|k| - 2\pi e \cos 2\pi f)}

    which is taken off. Fine structure that the sensor itself has folded back pulls alike, by an amount that nobody
    knows; the width that makes variance plus the square of twice b smallest keeps away from where it lives. No estimate
    of the noise is needed, and what else the two images do not share counts as noise.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scene = np.cumsum(rng.standard_normal((150, 160)), axis=1)  # little fine structure
    >>> clear, noisy = (rng.normal(0, noise, (2, 150, 160)) + scene for noise in (0.01, 3.0))
    >>> widths = [choose(Masked(B), Masked(A), (0.0, 0.0), (8, 140, 8, 150)).kernel.sigma for B, A in (clear, noisy)]
    >>> widths[0] < widths[1]
    True
    """
    spectrum = _spectrum(reference, moving, at, window)
    if spectrum is None:
        return None
    fractions = nearest(at[0])[1], nearest(at[1])[1]
    expected = [(float(sigma), *_expected(spectrum, float(sigma), fractions)) for sigma in widths]
    sigma, variance, pull = min(expected, key=lambda one: one[1] + REMAINS**2 * float(one[2] @ one[2]))
    return Choice(Gaussian(sigma), pull, _share_of_noise(spectrum)) if math.isfinite(variance) else None


def _spectrum(reference: Masked, moving: Masked, at: tuple[float, float], window: Window) -> Spectrum | None:
    """Return the cross spectra of a few tiles, the displacement that fits them best taken out."""
    (kx, fx), (ky, fy) = nearest(at[0]), nearest(at[1])
    tiles = [tile for tile in _tiles(window) if _whole(reference, tile, 0, 0) and _whole(moving, tile, kx, ky)]
    if not tiles:
        return None
    height, width = tiles[0][1] - tiles[0][0], tiles[0][3] - tiles[0][2]
    fade = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(reference.image.dtype)
    along_y = 2 * np.pi * np.fft.fftfreq(height)[:, np.newaxis]
    along_x = 2 * np.pi * np.fft.rfftfreq(width)[np.newaxis, :]
    turn = np.exp(1j * along_y * fy) * np.exp(1j * along_x * fx)
    B = np.stack([_transform(reference.image, tile, 0, 0, fade) for tile in tiles])
    A = np.stack([_transform(moving.image, tile, kx, ky, fade) for tile in tiles])
    cross = (np.conj(B) * A * turn).reshape(len(tiles), -1)
    power_b, power_a = ((F.real**2 + F.imag**2).sum(axis=0).ravel() for F in (B, A))
    kx_all, ky_all = (np.broadcast_to(k, turn.shape).ravel() for k in (along_x, along_y))
    faded = (np.square(fade).mean(dtype=np.float64)) ** 2 / np.power(fade, 4).mean(dtype=np.float64)
    top, bottom, left, right = window
    share = len(tiles) * height * width * faded / ((bottom - top) * (right - left))
    return _straightened(Spectrum(kx_all, ky_all, cross, power_b, power_a, float(share)))


def _straightened(spectrum: Spectrum) -> Spectrum:
    """Take out the displacement that is left, by one weighted least-squares step on the phases."""
    kx, ky, cross = spectrum[:3]
    weight = np.exp(-0.64 * (kx**2 + ky**2))
    total = weight * cross.sum(axis=0)
    H = _second_moments(kx, ky, total.real)
    if not np.linalg.det(H) > 1e-12 * float(np.trace(H)) ** 2:
        return spectrum
    rest = np.linalg.solve(H, np.array([kx @ total.imag, ky @ total.imag]))
    return spectrum._replace(cross=cross * np.exp(-1j * (kx * rest[0] + ky * rest[1])))


def _expected(spectrum: Spectrum, sigma: float, fractions: tuple[float, float]) -> tuple[float, NDArray[np.float64]]:
    """Return the variance that a width is expected to bring, in square pixels, and its pull."""
    kx, ky, cross = spectrum[:3]
    weight = np.exp(-(sigma**2) * (kx**2 + ky**2))
    scene = weight * cross.real.sum(axis=0)
    H = _second_moments(kx, ky, scene)
    if not np.linalg.det(H) > 1e-12 * float(np.trace(H)) ** 2:
        return math.inf, np.zeros(2)
    inverse = np.linalg.inv(H)
    noise = weight**2 * np.square(cross.imag).sum(axis=0)
    variance = inverse @ _second_moments(kx, ky, noise) @ inverse * min(spectrum.share, 1.0)
    pulls = [_pull(k, scene, sigma, fraction) for k, fraction in zip((kx, ky), fractions, strict=True)]
    return float(np.trace(variance)), np.array(pulls)


def _pull(k: NDArray[np.float64], scene: NDArray[np.float64], sigma: float, fraction: float) -> float:
    """Return by how much a kernel pulls the fraction of a displacement along the axis of the frequencies k."""
    k, sin, cos = np.abs(k), math.sin(2 * math.pi * fraction), math.cos(2 * math.pi * fraction)
    below, above, at_zero = (np.exp(-2 * (math.pi * sigma) ** 2 + 2 * math.pi * sigma**2 * u) for u in (k, -k, 0.0))
    e, t = below - above, below + above - 2 * at_zero
    turned = k - 2 * math.pi * e * cos
    curvature = float(scene @ (k * turned))
    push = float(scene @ (e * sin * turned - 2 * math.pi * t**2 * (1 - cos) * sin))
    return push / curvature if curvature > 0 else 0.0


def _share_of_noise(spectrum: Spectrum) -> float:
    r"""Return which part of the noise is the moving image's.

    Notes
    -----
    With :math:`\beta` the gain between the images, as their coarse structure shows it,

    .. math:: v_A = \langle |\hat A|^2 - \operatorname{Re} C / \beta \rangle, \qquad
        v_B = \langle |\hat B|^2 - \beta \operatorname{Re} C \rangle

    over the frequencies beyond :math:`|k| = 2`, where the scene, and the error of the gain with it, is weak.
    """
    squared = spectrum.kx**2 + spectrum.ky**2
    coarse, fine = np.exp(-2 * squared), squared > 4
    a, b = float(coarse @ spectrum.power_a), float(coarse @ spectrum.power_b)
    if not min(a, b) > 0:
        return 0.5
    gain, shared = math.sqrt(b / a), spectrum.cross.real.sum(axis=0)
    v_a = max(float((spectrum.power_a - shared / gain)[fine].sum()), 0.0)
    v_b = max(float((spectrum.power_b - shared * gain)[fine].sum()), 0.0)
    return v_a / (v_a + v_b) if v_a + v_b > 0 else 0.5


def _second_moments(
    kx: NDArray[np.float64], ky: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the sums of weight times kx kx, kx ky and ky ky."""
    xy = float((kx * ky) @ weight)
    return np.array([[float((kx * kx) @ weight), xy], [xy, float((ky * ky) @ weight)]])


def _tiles(window: Window) -> list[Window]:
    """Spread a few tiles over a window."""
    top, bottom, left, right = window
    height, width = min(bottom - top, _TILE), min(right - left, _TILE)
    if min(height, width) < _LEAST:
        return []
    count = int(np.clip(_PART * (bottom - top) * (right - left) / (height * width), 1, _TILES))
    down = (np.arange(count) + 0.5) / count
    across = (0.5 + _GOLDEN * (np.arange(count) - (count - 1) / 2)) % 1  # no two in one column
    rows = np.rint(top + down * (bottom - top - height)).astype(int).tolist()
    columns = np.rint(left + across * (right - left - width)).astype(int).tolist()
    return [(y, y + height, x, x + width) for y, x in zip(rows, columns, strict=True)]


def _whole(image: Masked, tile: Window, kx: int, ky: int) -> bool:
    """Say whether a displaced tile lies inside an image, and no pixel of it is masked."""
    top, bottom, left, right = tile[0] + ky, tile[1] + ky, tile[2] + kx, tile[3] + kx
    height, width = image.image.shape
    inside = min(top, left) >= 0 and bottom <= height and right <= width
    return inside and (image.mask is None or bool(image.mask[top:bottom, left:right].all()))


def _transform(
    image: NDArray[np.floating], tile: Window, kx: int, ky: int, fade: NDArray[np.floating]
) -> NDArray[np.complexfloating]:
    """Return the spectrum of a displaced tile, less its mean and faded out."""
    levels = image[tile[0] + ky : tile[1] + ky, tile[2] + kx : tile[3] + kx]
    return np.fft.rfft2((levels - levels.mean()) * fade)
