"""Pictures beside one another: before and after, and the place where most can be seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import _checks
from .._checks import InputError
from ..bilinear import shift
from ..imagefiles import as_float
from .style import DIVERGING, INK, RGB, SIZES, Image, Rectangle, axes_or_new, pair_of_axes, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def before_after(
    axes: Iterable[Axes] | None,
    before: Image,
    after: Image,
    *,
    titles: tuple[str, str] = ("before", "after"),
    magnify: Rectangle | bool = False,
) -> tuple[Axes, Axes]:
    """Show a picture before and after on two axes.

    Parameters
    ----------
    axes : two Axes, optional
        In a sequence or an array; None makes new ones.
    before, after : ndarray of shape (H, W) or (H, W, 3)
        Grey levels or colours, integers by the range of their dtype, floats in [0, 1].
    titles : (str, str)
    magnify : bool or (top, bottom, left, right)
        Show a detail of both enlarged in the corner: a rectangle in pixels, or True for the one that `detail` finds in
        the second picture.

    Returns
    -------
    (Axes, Axes)

    Raises
    ------
    InputError
        If the rectangle does not lie inside the pictures.
    """
    height, width = np.shape(after)[:2]
    first, second = pair_of_axes(width / height) if axes is None else axes
    where = detail(after) if magnify is True else magnify
    for ax, image, title in ((first, before, titles[0]), (second, after, titles[1])):
        show(ax, image, title)
        if where is not False:
            _magnify(ax, image, where)
    return first, second


def residual(
    ax: Axes | None,
    reference: Image,
    moving: Image,
    dx: float = 0.0,
    dy: float = 0.0,
    *,
    matched: bool = True,
    limit: float | None = None,
    bar: bool = True,
) -> Axes:
    r"""Show what is left of the shifted moving image when the reference is taken away.

    Parameters
    ----------
    ax : Axes, optional
        None makes new ones.
    reference, moving : ndarray of shape (H, W)
        Grey images, integers by the range of their dtype.
    dx, dy : float
        In pixels.
    matched : bool
        Fit a gain and an offset of the shifted image first, to which the correlation is blind.
    limit : float, optional
        The difference that the strongest colours stand for, in grey levels; the 99th percentile unless given.
    bar : bool
        Whether to draw the scale beside.

    Returns
    -------
    Axes
        The rms of the difference stands in its corner. What the shifted frame does not cover is left white.

    Notes
    -----
    With the gain and the offset by least squares over the pixels that both images cover,

    .. math:: r = g A^*(x, y) + o - B(x, y)
    """
    difference = _difference(reference, moving, dx, dy, matched=matched)
    ax = axes_or_new(ax, 6.0, 5.0)
    size = np.abs(difference[np.isfinite(difference)])
    most = (float(np.quantile(size, 0.99)) or 1.0) if limit is None else _checks.positive_number("limit", limit)
    shown = ax.imshow(difference, cmap=DIVERGING, vmin=-most, vmax=most, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel(
        f"rms {np.sqrt(np.mean(size**2)):.4f} grey levels at ({dx:+.2f}, {dy:+.2f}) px", fontsize=SIZES["tick"]
    )
    if bar:
        scale = ax.figure.colorbar(shown, ax=ax, fraction=0.046, pad=0.03, extend="both")
        scale.set_label("difference  (grey levels, full scale 1)", fontsize=SIZES["label"])
        scale.ax.tick_params(labelsize=SIZES["tick"] - 1)
    return ax


def unaligned(plate: Image, exposures: Mapping[str, Rectangle], crop: Rectangle, reference: str) -> Image:
    """Return the three exposures laid on one another as they come, on the same rectangle as the aligned picture.

    Parameters
    ----------
    plate : ndarray of shape (H, W)
    exposures : mapping
        For "red", "green" and "blue" the rectangle (top, bottom, left, right) in pixels of the plate.
    crop : (top, bottom, left, right)
        The part of the reference exposure to show, in pixels of the plate.
    reference : str
        Which exposure that is.

    Returns
    -------
    ndarray of shape (bottom - top, right - left, 3)
        In the plate's dtype. What would lie outside the plate repeats its border.
    """
    top, bottom, left, right = crop
    channels = []
    for name in RGB:
        down = exposures[name][0] - exposures[reference][0]
        across = exposures[name][2] - exposures[reference][2]
        rows = np.arange(top + down, bottom + down).clip(0, plate.shape[0] - 1)
        cols = np.arange(left + across, right + across).clip(0, plate.shape[1] - 1)
        channels.append(plate[np.ix_(rows, cols)])
    return np.stack(channels, axis=2)


def detail(picture: Image, share: float = 0.2) -> Rectangle:
    """Find the square with the most structure in a picture.

    Parameters
    ----------
    picture : ndarray of shape (H, W) or (H, W, 3)
    share : float
        The side of the square over the shorter side of the picture.

    Returns
    -------
    (top, bottom, left, right)
        In pixels, bottom and right exclusive; never in the outermost twentieth, where borders are.
    """
    levels = as_float(picture)
    grey = levels.astype(np.float64) if levels.ndim == 2 else levels.mean(axis=2, dtype=np.float64)
    height, width = grey.shape
    side = min(max(round(share * min(height, width)), 8), height, width)
    slopes = np.zeros_like(grey)
    slopes[:, 1:] += np.abs(np.diff(grey, axis=1))
    slopes[1:] += np.abs(np.diff(grey, axis=0))
    sums = np.pad(slopes, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    scores = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    rows, cols = ((n - 1) // 2 if n < 3 else max(n // 16, 1) for n in scores.shape)
    inner = scores[rows : scores.shape[0] - rows or None, cols : scores.shape[1] - cols or None]
    if inner.size == 0:
        inner, rows, cols = scores, 0, 0
    best = np.unravel_index(int(np.argmax(inner)), inner.shape)
    top, left = int(best[0]) + rows, int(best[1]) + cols
    return top, top + side, left, left + side


def _difference(reference: Image, moving: Image, dx: float, dy: float, *, matched: bool) -> NDArray[np.float64]:
    """Return the shifted moving image less the reference, not a number where one of them shows nothing."""
    B, A = (
        _checks.image(name, value)[0].astype(np.float64)
        for name, value in (("reference", reference), ("moving", moving))
    )
    _checks.same_shape(B, A)
    star = shift(A, _checks.finite_number("dx", dx), _checks.finite_number("dy", dy))
    covered = shift(np.ones_like(A), dx, dy) > 1 - 1e-9
    if not covered.any():
        raise InputError(f"at displacement ({dx:g}, {dy:g}) px the images do not overlap; give a smaller one")
    if matched and np.ptp(star[covered]) > 0:
        a, b = star[covered], B[covered]
        gain = float(((a - a.mean()) * (b - b.mean())).sum() / np.square(a - a.mean()).sum())
        star = gain * (star - a.mean()) + b.mean()
    return np.where(covered, star - B, np.nan)


def _magnify(ax: Axes, picture: Image, where: Rectangle) -> None:
    """Show a rectangle of a picture enlarged in that corner which is farthest from it, and where it comes from."""
    from matplotlib.patches import Rectangle as Box

    height, width = np.shape(picture)[:2]
    top, bottom, left, right = _checks.window("magnify", where, (height, width))
    across, down = left + right > width, top + bottom > height
    side = 0.46
    place = (0.02 if across else 0.98 - side, 0.98 - side if down else 0.02, side, side)
    inset = ax.inset_axes(place)
    show(inset, np.asarray(picture)[top:bottom, left:right], "")
    inset.set_anchor(("N" if down else "S") + ("W" if across else "E"))
    for spine in inset.spines.values():
        spine.set(visible=True, color="white", linewidth=2.0)
    for colour, line in ((INK, 3.6), ("white", 1.8)):
        ax.add_patch(Box((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=line))
