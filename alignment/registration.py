r"""The act: find the displacement that lays a moving image on a reference, and say how far to trust it.

From coarse to fine: at the coarsest level of a pyramid a search looks at every integer displacement; the best few are
followed to the finest level, on each by exact descent from cell to cell. Both images are smoothed a little, which
leaves one minimum where raw bilinear interpolation has several, and the loss is taken over a window that stays inside
both frames, because the frame of a scan does not move with its content.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import ArrayLike

from . import _checks
from .comparison import Comparison
from .gaussian import Gaussian
from .options import FEATURES, LOSSES, METHODS, SEARCHES, Options
from .result import TRACE, Registration
from .views import Both, Pair, usable

__all__ = ["FEATURES", "LOSSES", "METHODS", "SEARCHES", "TRACE", "Registration", "register"]


def register(
    reference: ArrayLike,
    moving: ArrayLike,
    *,
    loss: str = "ncc",
    method: str = "auto",
    features: str = "auto",
    max_shift: float | tuple[float, float] | None = None,
    init: tuple[float, float] = (0.0, 0.0),
    reference_mask: ArrayLike | None = None,
    moving_mask: ArrayLike | None = None,
    smooth: float = 1.0,
    kernel: Gaussian | str | None = None,
    noise: float | tuple[float, float] | str | None = None,
    border: float | None = None,
    min_overlap: float = 0.25,
    threads: int = 1,
    callback: Callable[[int, int, float, float, float], object] | None = None,
) -> Registration:
    r"""Find the displacement that lays `moving` on `reference`.

    Parameters
    ----------
    reference, moving : array_like of shape (H, W)
        Two grey images of one shape.
    loss : {"ncc", "mse"}
        What to minimise: the negative normalised correlation, blind to gain and offset, or the mean squared error.
    method : {"auto", "gradient-descent", "adam", "newton", "exhaustive"}
        "auto" searches all integer displacements at a coarse level and refines exactly from cell to cell, level by
        level. "exhaustive" searches at full resolution. The others descend from `init` at every level by that rule.
    features : {"auto", "intensity", "fine", "edges"}
        What to compare: grey levels; their fine structure, less the mean around, where two images differ in large
        tones; the magnitude of their gradient, where they differ in contrast. "auto"
        takes the edges if intensities correlate poorly at the coarsest level and the edges stand out, and tries the
        other, and a phase correlation, if that does not converge. Where it took edges, or none of these converges, and
        a curve turns the levels of one image into those of the other, as of a negative, it compares these: "toned" in
        the result's options. The methods that descend from `init` take it for "intensity".
    max_shift : float or (float, float), optional
        Largest abs(dx), abs(dy) to consider, in pixels; half the frame unless given.
    init : (float, float)
        Where to begin, and the centre of the search, in pixels.
    reference_mask, moving_mask : array_like of shape (H, W), optional
        True where a pixel may be used. Pixels that are not finite count as masked.
    smooth : float
        Width of the Gaussian that both images are smoothed with at every level, in pixels of that level; 0 for none.
    kernel : Gaussian or "hat", optional
        What the last steps at the finest level interpolate with. The hat is the documented bilinear sampler, on
        smoothed images; a Gaussian has less bias, see `alignment.gaussian`: by default as wide as the phases of the two
        spectra advise (`alignment.bandwidth`), or of 0.8 px for fine structure and of 1 px for edges.
    noise : float, (float, float) or "estimate", optional
        With ``kernel="hat"``: the standard deviation of the images' noise (the reference's first), in grey levels, to
        be taken off the loss at the finest level, which it pulls towards half pixels; see `alignment.losses.noise_of`.
        The Gaussian tells the noise from the residual itself.
    border : float, optional
        The share of each side of the frame to leave out, below 0.4. By default a tenth, and with the Gaussian less
        wherever the outer pixels agree as well as the inner ones do.
    min_overlap : float
        The share of the frame that must overlap, in (0, 1].
    threads : int
        With 2 or more the two images are filtered side by side, and passes over large ones are shared. The result is
        the same, bit for bit.
    callback : callable, optional
        Called as ``callback(level, step, dx, dy, loss)`` on the way.

    Returns
    -------
    Registration
        With a status; an image that cannot be registered is a result and not an exception.

    Raises
    ------
    InputError
        If an argument is not as described.

    Notes
    -----
    The loss is taken over the pixels that lie in the middle 80 % of *both* frames at the displacement that the coarser
    level found; the outer tenth, where scans have frames that do not move with the content, is left out. The window
    is fixed at each level, which keeps the loss continuous.

    A correlation stands out where there is most contrast. If most parts of the frame want another displacement, that is
    returned, from a descent that looks at these parts alone; it is called ambiguous, the first one its runner-up.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[0:120, 0:140].astype(float)
    >>> def scene(x, y):
    ...     return np.sin(x / 5) * np.cos(y / 7) + np.sin((x + 2 * y) / 11) + np.exp(-((x - 60)**2 + (y - 50)**2) / 90)
    >>> result = register(scene(x, y), scene(x - 3.25, y + 1.5))
    >>> round(result.dx, 2), round(result.dy, 2), result.status
    (3.25, -1.5, 'converged')
    """
    pair = _door(reference, moving, reference_mask, moving_mask)
    options = Options.checked(
        pair.reference.image.shape,
        loss=loss, method=method, features=features, max_shift=max_shift, init=init, smooth=smooth, kernel=kernel,
        noise=noise, border=border, min_overlap=min_overlap, threads=threads, callback=callback,
    )  # fmt: skip
    return Comparison(Both.of(pair, options.smooth, options.threads), options).best()


def _door(
    reference: ArrayLike, moving: ArrayLike, reference_mask: ArrayLike | None, moving_mask: ArrayLike | None
) -> Pair:
    """Check both images and their masks."""
    B, finite_b = _checks.image("reference", reference)
    A, finite_a = _checks.image("moving", moving)
    _checks.same_shape(B, A)
    B, A = _checks.common_dtype(B, A)
    used_b = _checks.both(finite_b, _checks.mask("reference_mask", reference_mask, B.shape))
    used_a = _checks.both(finite_a, _checks.mask("moving_mask", moving_mask, A.shape))
    return Pair(usable(B, used_b), usable(A, used_a))
