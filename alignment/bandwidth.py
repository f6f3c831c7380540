r"""How wide a kernel a pair of images wants: as narrow as its noise allows, as wide as its noise demands.

A narrow kernel keeps the fine structure that tells a displacement best; a wide one keeps the noise out, which is all
there is at frequencies where the scene has faded away. Where the one begins and the other ends shows in the phases of
the two spectra: those of the scene agree, once the displacement is taken out, and those of noise point anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .gaussian import NARROWEST, WIDEST, Gaussian, nearest
from .pyramid import Masked

Array = NDArray[np.float64]
Window = tuple[int, int, int, int]

# pixels along the sides of the tiles whose spectra are looked at; which part of the window they cover, and how many
_TILE = 96
_LEAST = 32
_PART = 0.25
_TILES = 8
# the share of a tile, at the least, that must not be masked
_USABLE = 0.25
# what sensors fold back from beyond the grid pulls like a narrow kernel: in photographs up to about twice as much
REMAINS = 2.0
_GOLDEN = (math.sqrt(5) - 1) / 2
# the widths to choose from
WIDTHS = tuple(np.linspace(NARROWEST, WIDEST, 8).tolist())


class Spectrum(NamedTuple):
    """Spectra of some tiles.

    Attributes
    ----------
    kx, ky : ndarray of shape (Nx,), (Ny,)
        Frequencies in radians per pixel.
    shared : ndarray of shape (Ny, Nx)
        The real part of the cross spectra, less the displacement, summed over the tiles.
    scatter : ndarray of shape (Ny, Nx)
        The sum over the tiles of their imaginary parts, squared.
    power_b, power_a : ndarray of shape (Ny, Nx)
        The power of the reference and of the moving image, summed over the tiles.
    share : float
        The part of the window that the tiles stand for.
    """

    kx: Array
    ky: Array
    shared: Array
    scatter: Array
    power_b: Array
    power_a: Array
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
    pull: Array
    noisier: float = 0.5


def choose(
    reference: Masked,
    moving: Masked,
    at: tuple[float, float],
    window: Window,
    *,
    widths: Sequence[float] = WIDTHS,
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
        None where most of each tile of the window is masked.

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
    sigmas = np.asarray(widths, np.float64)
    variance, pull = _expected(spectrum, sigmas, (nearest(at[0])[1], nearest(at[1])[1]))
    best = int(np.argmin(variance + REMAINS**2 * np.square(pull).sum(axis=1)))
    if not math.isfinite(variance[best]):
        return None
    return Choice(Gaussian(float(sigmas[best])), pull[best], _share_of_noise(spectrum))


def _spectrum(reference: Masked, moving: Masked, at: tuple[float, float], window: Window) -> Spectrum | None:
    """Return the cross spectra of a few tiles, the displacement that fits them best taken out."""
    (kx, fx), (ky, fy) = nearest(at[0]), nearest(at[1])
    tiles = [tile for tile in _tiles(window) if _inside(moving.image.shape, tile, kx, ky)]
    if not tiles:
        return None
    height, width = tiles[0][1] - tiles[0][0], tiles[0][3] - tiles[0][2]
    fade = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(reference.image.dtype)
    fades = np.stack([fade * _usable(reference, tile, 0, 0) * _usable(moving, tile, kx, ky) for tile in tiles])
    kept = fades.sum(axis=(1, 2)) >= _USABLE * fade.sum()
    if not kept.any():
        return None
    tiles, fades = [tile for tile, keep in zip(tiles, kept, strict=True) if keep], fades[kept]
    B, A = _transforms(reference.image, tiles, 0, 0, fades), _transforms(moving.image, tiles, kx, ky, fades)
    top, bottom, left, right = window
    squares = np.square(fades, dtype=np.float64)
    share = float(squares.sum() ** 2 / np.square(squares).sum()) / ((bottom - top) * (right - left))
    kx_all, ky_all = (np.asarray(2 * np.pi * f, np.float64) for f in (np.fft.rfftfreq(width), np.fft.fftfreq(height)))
    cross = np.conj(B)
    cross *= A
    total = cross.sum(axis=0) * _turn(kx_all, ky_all, fx, fy)
    rest = _left_over(kx_all, ky_all, total)
    cross *= _turn(kx_all, ky_all, fx - rest[0], fy - rest[1]).astype(cross.dtype)
    return Spectrum(
        kx=kx_all,
        ky=ky_all,
        shared=cross.real.sum(axis=0, dtype=np.float64),
        scatter=np.square(cross.imag).sum(axis=0, dtype=np.float64),
        power_b=_power(B),
        power_a=_power(A),
        share=share,
    )


def _transforms(
    image: NDArray[np.floating], tiles: list[Window], kx: int, ky: int, fades: NDArray[np.floating]
) -> NDArray[np.complexfloating]:
    """Return the spectra of displaced tiles, less their means and faded out, up to a factor."""
    levels = np.stack([image[y0 + ky : y1 + ky, x0 + kx : x1 + kx] for y0, y1, x0, x1 in tiles])
    levels -= (levels * fades).sum(axis=(1, 2), keepdims=True) / fades.sum(axis=(1, 2), keepdims=True)
    levels *= fades
    return np.fft.rfft2(levels, norm="ortho")  # with a factor, NumPy stays in single precision


def _power(spectra: NDArray[np.complexfloating]) -> Array:
    """Return the power of some spectra, summed."""
    power: Array = (np.square(spectra.real) + np.square(spectra.imag)).sum(axis=0, dtype=np.float64)
    return power


def _turn(kx: Array, ky: Array, dx: float, dy: float) -> NDArray[np.complex128]:
    """Return what turns the phases of a spectrum by a displacement."""
    return np.outer(np.exp(1j * ky * dy), np.exp(1j * kx * dx))


def _left_over(kx: Array, ky: Array, total: NDArray[np.complexfloating]) -> Array:
    """Return the displacement that is left, by one weighted least-squares step on the phases."""
    wx, wy = np.exp(-0.64 * kx**2)[np.newaxis], np.exp(-0.64 * ky**2)[np.newaxis]
    H = _second_moments(kx, ky, wx, wy, np.asarray(total.real, np.float64))[0]
    if not _regular(H):
        return np.zeros(2)
    along_x, along_y = (wy[0] @ total.imag) @ (wx[0] * kx), ((wy[0] * ky) @ total.imag) @ wx[0]
    return np.asarray(np.linalg.solve(H, np.array([along_x, along_y])))


def _regular(H: Array) -> NDArray[np.bool_]:
    """Say which of some matrices of shape (..., 2, 2) can be inverted."""
    determinant = H[..., 0, 0] * H[..., 1, 1] - H[..., 0, 1] ** 2
    return np.asarray(determinant > 1e-12 * (H[..., 0, 0] + H[..., 1, 1]) ** 2)


def _expected(spectrum: Spectrum, sigmas: Array, fractions: tuple[float, float]) -> tuple[Array, Array]:
    """Return the variance that each width is expected to bring, in square pixels, and its pull, of shape (S, 2).

    A Gaussian is a product of one along x and one along y, and so is each sum over the frequencies.
    """
    kx, ky = spectrum.kx, spectrum.ky
    wx, wy = (np.exp(-np.outer(sigmas**2, k**2)) for k in (kx, ky))
    H = _second_moments(kx, ky, wx, wy, spectrum.shared)
    regular = _regular(H)
    inverse = np.linalg.inv(np.where(regular[:, np.newaxis, np.newaxis], H, np.eye(2)))
    noise = _second_moments(kx, ky, wx**2, wy**2, spectrum.scatter)
    variance = np.trace(inverse @ noise @ inverse, axis1=1, axis2=2) * min(spectrum.share, 1.0)
    scenes = (wy @ spectrum.shared) * wx, (wx @ spectrum.shared.T) * wy
    pulls = [_pull(k, scene, sigmas, f) for k, scene, f in zip((kx, ky), scenes, fractions, strict=True)]
    return np.where(regular, variance, np.inf), np.where(regular[:, np.newaxis], np.stack(pulls, axis=1), 0.0)


def _pull(k: Array, scene: Array, sigmas: Array, fraction: float) -> Array:
    """Return by how much each width pulls the fraction of a displacement along the axis of the frequencies k."""
    k, sin, cos = np.abs(k), math.sin(2 * math.pi * fraction), math.cos(2 * math.pi * fraction)
    square = sigmas[:, np.newaxis] ** 2
    below, above, at_zero = (np.exp(-2 * math.pi**2 * square + 2 * math.pi * square * u) for u in (k, -k, 0.0))
    e, t = below - above, below + above - 2 * at_zero
    turned = k - 2 * math.pi * e * cos
    curvature = (scene * k * turned).sum(axis=1)
    push = (scene * (e * sin * turned - 2 * math.pi * t**2 * (1 - cos) * sin)).sum(axis=1)
    return np.asarray(np.divide(push, curvature, out=np.zeros_like(push), where=curvature > 0))


def _share_of_noise(spectrum: Spectrum) -> float:
    r"""Return which part of the noise is the moving image's.

    Notes
    -----
    With :math:`\beta` the gain between the images, as their coarse structure shows it,

    .. math:: v_A = \langle |\hat A|^2 - \operatorname{Re} C / \beta \rangle, \qquad
        v_B = \langle |\hat B|^2 - \beta \operatorname{Re} C \rangle

    over the frequencies beyond :math:`|k| = 2`, where the scene, and the error of the gain with it, is weak.
    """
    kx, ky = spectrum.kx, spectrum.ky
    coarse_y, coarse_x = np.exp(-2 * ky**2), np.exp(-2 * kx**2)
    a, b = (float(coarse_y @ power @ coarse_x) for power in (spectrum.power_a, spectrum.power_b))
    if not min(a, b) > 0:
        return 0.5
    gain, fine = math.sqrt(b / a), np.add.outer(ky**2, kx**2) > 4
    fine_a, fine_b, shared = (float(part[fine].sum()) for part in (spectrum.power_a, spectrum.power_b, spectrum.shared))
    v_a, v_b = max(fine_a - shared / gain, 0.0), max(fine_b - shared * gain, 0.0)
    return v_a / (v_a + v_b) if v_a + v_b > 0 else 0.5


def _second_moments(kx: Array, ky: Array, wx: Array, wy: Array, weight: Array) -> Array:
    """Return the sums of weight times wy wx times kx kx, kx ky and ky ky, for each of some wx and wy: (S, 2, 2)."""
    plain = wy @ weight * wx
    xx, xy = plain @ kx**2, ((wy * ky) @ weight * wx) @ kx
    yy = ((wy * ky**2) @ weight * wx).sum(axis=1)
    return np.stack([np.stack([xx, xy], axis=1), np.stack([xy, yy], axis=1)], axis=1)


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


def _inside(shape: tuple[int, ...], tile: Window, kx: int, ky: int) -> bool:
    """Say whether a displaced tile lies inside an image."""
    top, bottom, left, right = tile[0] + ky, tile[1] + ky, tile[2] + kx, tile[3] + kx
    return min(top, left) >= 0 and bottom <= shape[0] and right <= shape[1]


def _usable(image: Masked, tile: Window, kx: int, ky: int) -> NDArray[np.uint8] | int:
    """Return which pixels of a displaced tile may be used: 1 where all may."""
    top, bottom, left, right = tile[0] + ky, tile[1] + ky, tile[2] + kx, tile[3] + kx
    return 1 if image.mask is None else image.mask[top:bottom, left:right]
