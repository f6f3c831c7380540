"""The two losses, MSE and NCC, with their hand-derived gradients.

Each says what its formula makes of the sums of a pass, and of the moments of a cell; all else is the `Objective`'s.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from . import _kernels, propagation
from ._checks import Image, Mask, UndefinedLossError
from .bands import Window
from .bilinear import Cell
from .cells import MomentsMSE, MomentsNCC, symmetric
from .gaussian import Fields
from .margins import Margin
from .objective import Objective, Survey
from .propagation import Cleaned, Noise, noise_of
from .samplers import HatSampler, Offsets
from .sums import Centred, added, centred, correlation, explained, variance

# what a caller of the losses needs beside them comes with them
__all__ = ["MSE", "NCC", "Cleaned", "Noise", "Objective", "Survey", "Window", "correlation", "noise_of", "variance"]


class MSE(Objective):
    r"""Mean squared error between the shifted moving image and the reference.

    Parameters
    ----------
    reference, moving : array_like of shape (H, W)
        Grey levels. The sums run in the wider of the two floating dtypes, row by row, and are added in float64.
    domain : "frame", "interior" or (top, bottom, left, right)
        The pixels of the reference to compare: all of them, the middle 80 % of each axis, or a window.
    reference_mask, moving_mask : array_like of shape (H, W), optional
        True where a pixel may be used. Pixels that are not finite count as masked. A target pixel is used if all
        four corners of its cell may be.
    side : {"right", "left", "central"}
        Which slope to report at an integer displacement, where the loss has a kink.
    kernel : "hat" or Gaussian
        What both images are sampled with: the bilinear hat of the documented formulas, or a Gaussian, which has no
        kinks. Under a Gaussian, usable pixels share out the weight of masked ones, pixels beside masked ones are not
        compared unless that would leave fewer than half, and zeros lie outside the frame.
    noise : float, (float, float) or "estimate", optional
        The standard deviation of independent noise in the images (the reference's first), in grey levels, whose share
        is taken off the moments of the cells; see `noise_of`. Without it the minimum is pulled towards half pixels.
    threads : int
        How many threads share a pass over images of four million pixels or more; it changes no bit of the result.

    Raises
    ------
    InputError
        If the images differ in shape or an argument is not as described.

    Notes
    -----
    With :math:`A^*` the moving image, shifted and zero outside its frame, and N the number of pixels compared,

    .. math:: L = \frac{1}{N} \sum (A^* - B)^2, \qquad
        \frac{\partial L}{\partial d} = \frac{2}{N} \sum (A^* - B) \frac{\partial A^*}{\partial d}

    A domain that stays inside the moving image at every displacement of interest keeps the loss free of what enters
    from outside. Masks of the moving image travel with it, so that N may change from cell to cell.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[0:20, 0:30].astype(float)
    >>> objective = MSE(0.1 * x, 0.1 * (x - 1.5), domain=(5, 15, 5, 25))
    >>> value, gradient = objective.value_and_gradient(1.0, 0.0)
    >>> round(value, 12), gradient.round(12)
    (0.0025, array([-0.01,  0.  ]))
    """

    def correlation(self, dx: float, dy: float) -> float:
        """Return the correlation coefficient of the images there."""
        return -NCC.of(*self.images, domain=self.domain, kernel=self.kernel).value(dx, dy)

    def _from_sums(
        self, sums: NDArray[np.float64], margin: Margin, x: Cell, y: Cell
    ) -> tuple[float, NDArray[np.float64]]:
        ee, ex, ey, n = self._errors(sums).sum(axis=0).tolist()
        n += margin.n
        if n == 0:
            raise self._nothing_left(x, y)
        return (margin.second + ee) / n, np.array([2 * ex / n, 2 * ey / n])

    def _hat_sums(self, hat: HatSampler, blocks: NDArray[np.int64], x: Cell, y: Cell) -> NDArray[np.float64]:
        return hat.sums(_kernels.sums_mse, blocks, x, y, threads=self.threads)

    def _curvature_scale(self, sums: NDArray[np.float64]) -> float:
        return float(2 / sums[:, 11].sum())

    def _gain(self, c: Centred) -> float:
        return 1.0

    def _smooth_hessian(self, A: Fields, B: NDArray[np.float64]) -> NDArray[np.float64]:
        e = A.value - B
        xx, xy, yy = (
            float(first @ second + e @ both)
            for first, second, both in ((A.x, A.x, A.xx), (A.x, A.y, A.xy), (A.y, A.y, A.yy))
        )
        return 2 / max(e.size, 1) * np.array([[xx, xy], [xy, yy]])

    def _errors(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums of e^2, e A_x, e A_y and 1, where needed from the products of the Gaussian pass."""
        if self.kernel == "hat":
            return sums[:, :4]
        _, _, suu, suv, svv, _, _, sux, suy, svx, svy, n = sums[:, :12].T
        return np.stack([suu - 2 * suv + svv, sux - svx, suy - svy, n], axis=1)

    def _shares(self, sums: NDArray[np.float64], margin: Margin) -> NDArray[np.float64]:
        errors = self._errors(sums)
        return np.asarray(2 * errors[:, 1:3] / (errors[:, 3].sum() + margin.n))

    def _moments(self, hat: HatSampler, x: Cell, y: Cell) -> MomentsMSE:
        overlap = hat.overlap(self.domain, x, y)
        count, _, squares = self._margins.beside(overlap)
        G = np.full((4, 4), squares)  # where only zeros are read, every D_i is -B
        if overlap is not None:
            sums = hat.moments(_kernels.cell_moments_mse, overlap, x, y, threads=self.threads)
            G += symmetric(sums[:10])
            if self._noise is not None:
                G = self._noise.taken_off(G, sums[10], x, y)
            count += sums[10]
        if count == 0:
            raise self._nothing_left(x, y)
        return MomentsMSE(G, count)


class NCC(Objective):
    r"""Negative normalised correlation coefficient between the shifted moving image and the reference.

    Parameters
    ----------
    reference, moving : array_like of shape (H, W)
        Grey levels; a positive gain and an offset of either change nothing.
    domain : "frame", "interior" or (top, bottom, left, right)
        The pixels of the reference to compare: all of them, the middle 80 % of each axis, or a window.
    reference_mask, moving_mask : array_like of shape (H, W), optional
        True where a pixel may be used. Pixels that are not finite count as masked.
    side : {"right", "left", "central"}
        Which slope to report at an integer displacement, where the loss has a kink.
    kernel : "hat" or Gaussian
        What both images are sampled with: the bilinear hat of the documented formulas, or a Gaussian, which has no
        kinks. Under a Gaussian, usable pixels share out the weight of masked ones, pixels beside masked ones are not
        compared unless that would leave fewer than half, and zeros lie outside the frame.
    noise : float, (float, float) or "estimate", optional
        The standard deviation of independent noise in the images (the reference's first), in grey levels, whose share
        is taken off the moments of the cells; see `noise_of`. Without it the minimum is pulled towards half pixels.
    threads : int
        How many threads share a pass over images of four million pixels or more; it changes no bit of the result.

    Raises
    ------
    InputError
        If the images differ in shape, an argument is not as described, or one of the images is constant where they
        are compared: its correlation with anything is undefined.

    Notes
    -----
    With :math:`\tilde A, \tilde B` the centred grey levels, :math:`\hat A = \tilde A/|\tilde A|` and
    :math:`\hat B = \tilde B/|\tilde B|`,

    .. math:: L = -\rho, \quad \rho = \sum \hat A \hat B, \qquad \frac{\partial \rho}{\partial d} =
        \frac{1}{|\tilde A|} \left[\sum \hat B \frac{\partial A^*}{\partial d}
        - \rho \sum \hat A \frac{\partial A^*}{\partial d}\right]

    The pass sums plain products about fixed offsets, and the centred ones follow from them:
    :math:`\sum \tilde A \tilde B = \sum uv - \sum u \sum v / N` for u = A* - u0, v = B - v0, and so on.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[0:20, 0:30].astype(float)
    >>> scene = np.sin(x / 3) * np.cos(y / 4)
    >>> [round(NCC(scene, 5 + gain * scene).value(0.0, 0.0), 9) for gain in (2, -2)]
    [-1.0, 1.0]
    """

    def correlation(self, dx: float, dy: float) -> float:
        """Return the correlation coefficient of the images there, their noise included."""
        return -NCC.of(*self.images, domain=self.domain, kernel=self.kernel).value(dx, dy)

    def _chosen_offsets(self) -> Offsets:
        """Return grey levels near the means; any constants there will do, and a sparse sample finds them."""
        top, bottom, left, right = self.domain
        sample = np.s_[top:bottom:7, left:right:5]
        v0, u0 = (
            image.dtype.type(_mean(image[sample], None if used is None else used[sample]))
            for image, used in self.images
        )
        return u0, v0

    def _from_sums(
        self, sums: NDArray[np.float64], margin: Margin, x: Cell, y: Cell
    ) -> tuple[float, NDArray[np.float64]]:
        total = added(sums)
        c = Centred.of(total + self._only_zeros(margin))
        if c.n == 0:
            raise self._nothing_left(x, y)
        self._refuse_constant(c, x, y)
        return -float(min(max(c.rho, -1.0), 1.0)), self._slopes(total[np.newaxis], c)[0]

    def _hat_sums(self, hat: HatSampler, blocks: NDArray[np.int64], x: Cell, y: Cell) -> NDArray[np.float64]:
        return hat.sums(_kernels.sums_ncc, blocks, x, y, self._offsets, threads=self.threads)

    def _shares(self, sums: NDArray[np.float64], margin: Margin) -> NDArray[np.float64]:
        c = Centred.of(added(sums) + self._only_zeros(margin))
        self._refuse_constant(c, Cell(0, 0.0), Cell(0, 0.0))
        return self._slopes(sums, c)

    def _refuse_constant(self, c: Centred, x: Cell, y: Cell) -> None:
        """Refuse a variance that is nothing but rounding."""
        for name, power, squares, offset in (
            ("moving", c.var_a, c.suu, self._offsets[0]),
            ("reference", c.var_b, c.svv, self._offsets[1]),
        ):
            if not power > self._rounding(squares, c.n, offset):
                raise self._constant(name, x, y)

    def hessian_from(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Return the curvature of the loss from the products of the two images' slopes in rows of Gaussian sums.

        Notes
        -----
        Gain and offset are free, so that what a slope shares with a constant or with the image itself is theirs to
        explain and tells nothing of the displacement: a ramp, or a sky that fades, has no place. With the gain
        :math:`\beta = \sum \tilde u \tilde v / \sum \tilde u^2`,

        .. math:: H_{ij} = s \left[\sum A_i B_j - \beta \left(\frac{\sum A_i \sum A_j}{N}
            + \frac{\sum \tilde u A_i \sum \tilde u A_j}{\sum \tilde u^2}\right)\right]

        which is -rho differentiated twice where the gradient vanishes, :math:`\sum \tilde v A_i = \beta \sum \tilde u
        A_i`, the products of the slopes standing for those of the noise-free scene. By parts the sums that are taken
        off are integrals along the border of what is compared: they matter where structure is coarse against the
        window, or where masks make the border long.
        """
        c = centred(sums)
        if not (c.n and min(c.var_a, c.var_b) > 0):
            return super().hessian_from(sums)
        means, along = explained(sums, c)
        taken = self._gain(c) * (c.n * np.outer(means, means) + c.var_a * np.outer(along, along))
        whole = super().hessian_from(sums)
        left = whole - taken * self._curvature_scale(sums)
        # of a ramp nothing is left but rounding, which is no curvature
        rounding = 8 * float(np.finfo(self.images[1].image.dtype).eps) * float(np.trace(whole))
        return np.asarray(left) if float(np.trace(left)) > rounding else np.zeros((2, 2))

    def noise_fitted(self, slopes: NDArray[np.float64], cleaned: Cleaned) -> NDArray[np.float64]:
        """Return what the fit of gain and offset takes off; see `propagation.noise_fitted`."""
        return propagation.noise_fitted(slopes, cleaned, self._curvature_scale(cleaned.sums))

    def _gain(self, c: Centred) -> float:
        return c.covariance / c.var_a

    def _curvature_scale(self, sums: NDArray[np.float64]) -> float:
        c = centred(sums)
        return 1 / (sqrt(c.var_a) * sqrt(c.var_b)) if c.n and min(c.var_a, c.var_b) > 0 else 0.0

    def _smooth_hessian(self, A: Fields, B: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Differentiate :math:`-\rho = -C V^{-1/2} / |\tilde B|` twice, C the covariance and V the variance of A*."""
        u, v = A.value - A.value.mean(), B - B.mean()
        C, V = float(u @ v), float(u @ u)
        C_1 = np.array([v @ A.x, v @ A.y])
        V_1 = 2 * np.array([u @ A.x, u @ A.y])
        slopes = np.stack([A.x - A.x.mean(), A.y - A.y.mean()])
        C_2 = np.array([[v @ A.xx, v @ A.xy], [v @ A.xy, v @ A.yy]])
        V_2 = 2 * (slopes @ slopes.T + np.array([[u @ A.xx, u @ A.xy], [u @ A.xy, u @ A.yy]]))
        mixed = np.outer(C_1, V_1)
        rho_2 = C_2 - (mixed + mixed.T + C * V_2) / (2 * V) + 3 * C * np.outer(V_1, V_1) / (4 * V**2)
        return np.asarray(-rho_2 / (sqrt(V) * sqrt(float(v @ v))))

    def _only_zeros(self, margin: Margin) -> NDArray[np.float64]:
        """Return the kernel's sums over pixels that read only zeros, which the offset u0 sees as -u0."""
        n, sv, svv = margin
        u = -float(self._offsets[0])
        return np.array([u * n, sv, u * u * n, u * sv, svv, 0, 0, 0, 0, 0, 0, n])

    @staticmethod
    def _slopes(sums: NDArray[np.float64], c: Centred) -> NDArray[np.float64]:
        """Return the derivatives of the loss that each row of sums contributes."""
        slopes = sums[:, 5:7]
        towards_b = (sums[:, 9:11] - c.mean_v * slopes) / (sqrt(c.var_a) * sqrt(c.var_b))
        towards_a = (sums[:, 7:9] - c.mean_u * slopes) / c.var_a
        return np.asarray(c.rho * towards_a - towards_b)

    def _moments(self, hat: HatSampler, x: Cell, y: Cell) -> MomentsNCC:
        u0, v0 = self._offsets
        overlap = hat.overlap(self.domain, x, y)
        n, sv, svv = self._margins.beside(overlap)
        u = -float(u0)
        P, C, S = np.full((4, 4), u * u * n), np.full(4, u * sv), np.full(4, u * n)
        if overlap is not None:
            sums = hat.moments(_kernels.cell_moments_ncc, overlap, x, y, (u0, v0), threads=self.threads)
            P += symmetric(sums[:10])
            C += sums[10:14]
            S += sums[14:18]
            sv, svv, n = sv + sums[18], svv + sums[19], n + sums[20]
        if n == 0:
            raise self._nothing_left(x, y)
        var_b = svv - sv * sv / n
        V = P - np.outer(S, S) / n
        if self._noise is not None and overlap is not None:
            V = self._noise.taken_off(V, sums[20], x, y)
            var_b -= sums[20] * self._noise.reference
        if not var_b > self._rounding(svv, n, v0):
            raise self._constant("reference", x, y)
        return MomentsNCC(C - S * sv / n, V, var_b, self._rounding(float(P.diagonal().max()), n, u0))

    def _rounding(self, squares: float, n: float, offset: float) -> float:
        """Return the variance that rounding alone can leave in a sum of squares about an offset, or in grey levels."""
        eps = 8 * float(np.finfo(self.images[1].image.dtype).eps)
        return eps * squares + eps**2 * n * float(offset) ** 2

    def _constant(self, name: str, x: Cell, y: Cell) -> UndefinedLossError:
        """Make the error for an image without structure."""
        return UndefinedLossError(
            f"{name} is constant over the domain {self.domain} at displacement ({x.whole + x.fraction:g}, "
            f"{y.whole + y.fraction:g}) px, where its correlation is undefined; use a domain with structure, or MSE"
        )


def _mean(image: Image, used: Mask | None) -> float:
    """Return the mean of the pixels in use, 0 if there are none."""
    levels = image if used is None else image[used != 0]
    return float(levels.mean(dtype=np.float64)) if levels.size else 0.0
