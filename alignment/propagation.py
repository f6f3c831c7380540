r"""How noise in the pixels propagates: into the moments of a cell, the sums of a pass, and the gradient of a loss.

Interpolation averages noise, at half pixels the more the sharper the kernel, so that a squared error of noisy images is
smaller there: noise pulls a minimum. What it adds to sums of products is known from the taps, up to its variance, and
is taken off them here. What it adds to a gradient is random; here is its covariance, which the error bars are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks
from ._checks import UndefinedLossError
from .bilinear import Cell
from .gaussian import Gaussian, nearest
from .noise import estimate_noise
from .pyramid import Masked, smoothing_taps
from .sums import Centred, added, centred, explained

# how often gain and noise are told apart, each given the other
_ROUNDS = 4
# the share of an image's variance that may be taken for noise
_MOST_NOISE = 0.9


class Noise(NamedTuple):
    """The noise of two images, to be taken off the moments of a cell.

    Attributes
    ----------
    reference : float
        The variance of the reference's.
    corners : ndarray of shape (4, 4)
        The covariance of the moving image's at the four corners of a cell.
    """

    reference: float
    corners: NDArray[np.float64]

    def taken_off(self, form: NDArray[np.float64], n: float, x: Cell, y: Cell) -> NDArray[np.float64]:
        """Return a quadratic form of a cell, summed over n pixels, without the moving image's noise.

        Raises
        ------
        InputError
            If that leaves a negative variance, or a negative squared error, somewhere in the cell.
        """
        cleaned = form - n * self.corners
        if np.linalg.eigvalsh(cleaned)[0] < -1e-9 * np.abs(cleaned).max():
            raise UndefinedLossError(
                f"noise is more than the images' differences hold at displacement ({x.whole + x.fraction:g}, "
                f"{y.whole + y.fraction:g}) px, so that the loss would be negative there; give less noise"
            )
        return np.asarray(cleaned)


class Cleaned(NamedTuple):
    """Rows of Gaussian sums without the noise's share; its variance in both images, and the gain between them."""

    sums: NDArray[np.float64]
    moving_noise: float
    reference_noise: float
    gain: float


def noise_of(
    reference: Masked, moving: Masked, noise: float | tuple[float, float] | str, *, smooth: float = 0.0
) -> Noise:
    r"""Return the noise of two images as the moments of a cell see it.

    Parameters
    ----------
    reference, moving : Masked
        The images before any smoothing.
    noise : float, (float, float) or "estimate"
        Its standard deviation, of both images or of the reference's and the moving image's, in grey levels; or to be
        estimated from each image.
    smooth : float
        Width of the Gaussian, in pixels, that the images are smoothed with before they are compared.

    Notes
    -----
    At a fraction with the weights w, independent noise of variance v in the moving image adds :math:`v\, w' R w` to
    each squared error, with R the correlation between the corners of a cell: the identity, or after smoothing by taps h

    .. math:: R_{ij} = \prod_{axes} \sum_m h_m h_{m + e_i - e_j}

    The form is largest at whole pixels and smallest half way between, and pulls the minimum there. Taking
    :math:`N v R` off the moments of the cell takes the pull away for all fractions at once.
    """
    if isinstance(noise, str):
        _checks.one_of("noise", noise, ("estimate",))
        deviations = (estimate_noise(reference.image, reference.mask), estimate_noise(moving.image, moving.mask))
    elif isinstance(noise, tuple | list):
        pair = _checks.pair_of_numbers("noise", noise)
        deviations = (
            _checks.number_between("noise", pair[0], 0, 1e9),
            _checks.number_between("noise", pair[1], 0, 1e9),
        )
    else:
        deviations = (_checks.number_between("noise", noise, 0, 1e9),) * 2
    taps = smoothing_taps(smooth)
    here, beside = float(taps @ taps), float(taps[1:] @ taps[:-1])
    axis = np.array([[here, beside], [beside, here]])
    return Noise(deviations[0] ** 2 * here**2, deviations[1] ** 2 * np.kron(axis, axis))


def without_noise(
    sums: NDArray[np.float64],
    kernel: Gaussian,
    at: tuple[float, float],
    gain_of: Callable[[Centred], float],
    *,
    noisier: float = 0.5,
) -> Cleaned:
    r"""Take off rows of Gaussian sums what the images' own noise has put in, as far as the residual shows it.

    Parameters
    ----------
    sums : ndarray of shape (K, 16)
    kernel : Gaussian
        That they were taken with.
    at : (float, float)
        The displacement (dx, dy) that they were taken at.
    gain_of : callable
        Returns the factor between the grey levels of the two images that the loss allows for.
    noisier : float
        The variance of the moving image's noise as a share of both images' together.

    Notes
    -----
    Noise of variance v in the moving image adds to :math:`\sum u^2` and to :math:`\sum u A_x`, over N pixels,

    .. math:: N v \sum_j w_j^2 \sum_i w_i^2, \qquad N v \sum_j w_j w'_j \sum_i w_i^2

    with the taps :math:`w_j` along x and :math:`w_i` along y. Both depend on the fraction of the displacement, the
    more so the narrower the kernel, and pull a minimum towards where noise is averaged away best. The variance
    follows from the residual, whose expectation is :math:`N v (\beta^2 |w|^2 + |w^0|^2)` for equally noisy images,
    :math:`\beta` the gain between them; what else the images do not share is taken for noise as well.
    """
    (wx, sx), (wy, sy) = (kernel.taps(nearest(d)[1]) for d in at)
    w0 = kernel.taps(0.0)[0]
    energy, still = float((wx @ wx) * (wy @ wy)), float(w0 @ w0) ** 2
    c = centred(sums)
    if not min(c.var_a, c.var_b) > 0:
        return Cleaned(sums, 0.0, 0.0, 1.0)
    v_a = v_b = 0.0
    for _ in range(_ROUNDS):  # the gain is that between the scenes, without the noise that the residual shows
        gain = gain_of(c._replace(var_a=c.var_a - c.n * v_a * energy))
        residual = c.var_b - 2 * gain * c.covariance + gain**2 * c.var_a
        both = max(residual, 0.0) / (gain**2 * noisier * energy + (1 - noisier) * still)
        v_a = min(noisier * both, _MOST_NOISE * c.var_a / energy) / c.n
        v_b = min((1 - noisier) * both, _MOST_NOISE * c.var_b / still) / c.n
    cleaned = sums.copy()
    along_x, along_y = float((wx @ sx) * (wy @ wy)), float((wx @ wx) * (wy @ sy))
    for column, rate in {2: v_a * energy, 4: v_b * still, 7: v_a * along_x, 8: v_a * along_y}.items():
        cleaned[:, column] -= rate * sums[:, 11]
    return Cleaned(cleaned, v_a, v_b, gain)


def gradient_noise(
    slopes: NDArray[np.float64], cleaned: Cleaned, kernel: Gaussian, at: tuple[float, float], scale: float
) -> NDArray[np.float64]:
    r"""Return the covariance of each block's share in the gradient, under independent noise in both images.

    Parameters
    ----------
    slopes : ndarray of shape (K, 16)
        The sums of the same blocks under the kernel applied `twice`, noise included.
    cleaned : Cleaned
        The sums under the kernel itself.
    kernel : Gaussian
    at : (float, float)
        The displacement (dx, dy) that both were taken at.
    scale : float
        s, what turns the products of slopes into second derivatives of the loss.

    Returns
    -------
    ndarray of shape (K, 2, 2)

    Notes
    -----
    The gradient is :math:`s \sum (v - \beta u) A_i`. Its noise is that of the residual, :math:`n_B - \beta n_A`,
    each smoothed by the kernel h, so that with :math:`h * A_i` the slopes smoothed once more

    .. math:: \operatorname{Cov}(g_i, g_j) = s^2 \left[(v_B + \beta^2 v_A) \sum (h * A_i)(h * A_j)
        + v_A v_B \sum (h * n_i)(h * n_j)\right]

    where the first sum is of the noise-free slopes, for which the products of the two images' slopes stand, and the
    second, of unit noise, follows from the taps: noise in the slopes meets that of the other image. Noise of the
    moving image that meets itself adds nothing: the kernel times its derivative is odd.
    """
    (wx, sx), (wy, sy) = (kernel.twice().all_taps(nearest(d)[1]) for d in at)
    J = slopes[:, 12:16].reshape(-1, 2, 2)
    own = np.diag([(sx @ sx) * (wy @ wy), (wx @ wx) * (sy @ sy)])
    v_a, v_b, n = cleaned.moving_noise, cleaned.reference_noise, slopes[:, 11]
    # the slopes' products are those of both images: times the gain, those of the reference's alone
    shared = (J + J.transpose(0, 2, 1)) / (2 * cleaned.gain)
    scatter = (v_b + cleaned.gain**2 * v_a) * shared + v_a * v_b * n[:, None, None] * own
    return np.asarray(scale**2 * scatter)


def noise_fitted(slopes: NDArray[np.float64], cleaned: Cleaned, scale: float) -> NDArray[np.float64]:
    r"""Return what a fit of gain and offset takes off the `gradient_noise` of all blocks together.

    Parameters are those of `gradient_noise`.

    Notes
    -----
    The noise of the gradient is :math:`s \sum (n_B - \beta n_A) A_i^\perp` with the slopes less what offset and
    gain explain, :math:`A_i^\perp = A_i - m_i - a_i \tilde u`; see `sums.explained`. In its covariance
    :math:`\sum (h * A_i)(h * A_j)` becomes :math:`\sum (h * A_i^\perp)(h * A_j^\perp)`, which is less by

    .. math:: m_i \sum h * A_j + m_j \sum h * A_i - N m_i m_j + a_i q_j + a_j q_i - a_i a_j \sum (h * \tilde u)^2

    where :math:`q_i = \sum (h * \tilde u)(h * A_i)`. A block alone keeps its full share.
    """
    c = centred(cleaned.sums)
    total = added(slopes)
    twice = Centred.of(total)
    if not min(c.n, c.var_a, twice.n) > 0:
        return np.zeros((2, 2))
    means, along = explained(cleaned.sums, c)
    # products with the reference, over the gain: free from the noise of either
    q = (total[9:11] - twice.mean_v * total[5:7]) / cleaned.gain
    cross = np.outer(means, total[5:7]) + np.outer(along, q)
    less = cross + cross.T - twice.n * np.outer(means, means)
    less -= twice.covariance / cleaned.gain * np.outer(along, along)
    both = cleaned.reference_noise + cleaned.gain**2 * cleaned.moving_noise
    return np.asarray(both * scale**2 * less)
