"""What happened to one plate, on one page: found, laid on one another, descended to, and what is left over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..imagefiles import as_float
from ..pyramid import Masked, edges, halve
from ..registration import register
from ..scans import block_mean
from ..search import LagSurface, all_lags
from .descents import convergence, path
from .pictures import before_after, detail
from .style import COLOURS, INK, MARKERS, RGB, SEQUENTIAL, SIZES, Image, Rectangle, name_axes, new_figure, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Levels = NDArray[Any]

_PLATE, _PICTURE = 1400, 1000  # pixels along the longer side of plate and picture, more than the page can show
_SOUGHT = 500  # pixels along the longer side of a picture on which the detail is looked for
_ROWS = 64  # of a reduced picture that are made at a time
_DETAIL = 180  # pixels along the side of a detail, few enough to be seen one by one
_LAGS, _FEWEST = 28, 7  # of a loss landscape, to each side
_ENOUGH = 1024  # pixels along the short side of an exposure: what is finer is grain
_TILES = 5  # of the residual map, along the longer side
_TILE = 160  # pixels along the side of a tile, reduced if there are more
_KNOWN = 0.25  # pixels of a tile: a displacement with larger error bars is not drawn
_WRONG = "#B00020"


def plate_figure(plate: Image, colorization: Any, *, title: str = "") -> Figure:
    """Show on one page what happened to a plate.

    The scan with the exposures that were found and what the photograph shows of it; the exposures laid on one another
    as they come, and aligned, as a whole and where there is most structure; the loss around the result with the path of
    the descent; its convergence; and the displacements that are left over from place to place, which no translation
    removes.

    Parameters
    ----------
    plate : ndarray of shape (H, W) or (H, W, 3)
        The scan.
    colorization : Colorization
        What `colorize` made of it.
    title : str
        What the plate is called.

    Returns
    -------
    Figure
        About 21 by 11 inches; needs no screen.

    Examples
    --------
    >>> from alignment import colorize, plots, read_image
    >>> plate = read_image("plate.tif")  # doctest: +SKIP
    >>> plots.save(plots.plate_figure(plate, colorize(plate), title="plate.tif"), "how.png")  # doctest: +SKIP
    """
    picture = np.asarray(colorization.rgb)
    figure, axes = _page(plate.shape[0] / plate.shape[1], picture.shape[0] / picture.shape[1])
    _heading(figure, plate, colorization, title)
    _plate_panel(axes["plate"], plate, colorization)
    window = _pictures(axes, plate, colorization)
    _outline(axes["before"], axes["after"], window)
    moved = list(colorization.registrations)
    _convergence(axes["loss"], colorization.registrations)
    fields = {name: _residual(picture, name, colorization) for name in moved}
    magnify = _common_scale(fields)
    for side, name in zip(("left", "right"), moved, strict=False):
        _landscape(axes[f"landscape {side}"], plate, colorization, name)
        _residual_panel(axes[f"residual {side}"], picture, fields[name], name, colorization.reference, magnify)
    return figure


# the page


def _page(plate: float, picture: float) -> tuple[Figure, dict[str, Axes]]:
    """Lay out the page for a plate and a picture of these heights over widths; all in inches."""
    margin, gap, heading, title = 0.35, 0.2, 0.95, 0.45
    wide = 4.35
    high = wide * min(max(picture, 0.6), 1.35)
    total = 2 * high + 2 * title
    tall = min((total - title) / plate, 4.6)
    middle = 2 * margin + tall
    right = middle + 2 * wide + gap + 1.15
    side, between = 3.3, 0.8
    low, label = side * min(max(picture, 0.6), 1.35), 0.6
    bottom = margin + 0.75  # three lines of words
    numbers = 0.4
    room = margin + total - bottom - low - 3 * title - label - numbers  # for the landscapes and the convergence
    plots = {
        "landscape left": (right, margin + total - title - room * 0.6, side, room * 0.6),
        "landscape right": (right + side + between, margin + total - title - room * 0.6, side, room * 0.6),
        "loss": (right, bottom + low + title + numbers, 2 * side + between, room * 0.4),
        "residual left": (right, bottom, side, low),
        "residual right": (right + side + between, bottom, side, low),
    }
    places = {
        "plate": (margin, margin, tall, total - title),
        "before": (middle, margin + high + title, wide, high),
        "after": (middle + wide + gap, margin + high + title, wide, high),
        "close before": (middle, margin, wide, high),
        "close after": (middle + wide + gap, margin, wide, high),
        **plots,
    }
    width, height = right + 2 * side + between + margin, margin + total + heading
    figure = new_figure(width, height)
    scale = np.array((width, height, width, height))
    return figure, {name: figure.add_axes(tuple(place / scale)) for name, place in places.items()}


def _heading(figure: Figure, plate: Image, made: Any, title: str) -> None:
    """Say which plate this is, and what came out."""
    height = figure.get_figheight()
    name = f"{title}:  " if title else ""
    verdict = "converged" if made.success else f"{made.status}: {made.message}"
    size = f"{plate.shape[1]} x {plate.shape[0]} px, {plate.dtype.name}"
    left = 0.35 / figure.get_figwidth()
    first = f"{name}{size}, {verdict}"
    figure.text(
        left,
        1 - 0.36 / height,
        first if len(first) <= 150 else f"{first[:147]}...",
        fontsize=SIZES["title"] + 4,
        color=INK if made.success else _WRONG,
        weight="bold",
    )
    parts = [_displacement(name, found) for name, found in made.registrations.items()]
    parts.append(f"going round the three channels misses the start by {np.hypot(*made.closure):.2f} px")
    if made.inverted:
        parts.append("the scan is a negative")
    figure.text(left, 1 - 0.70 / height, "      ".join(parts), fontsize=SIZES["title"], color=INK)


def _displacement(name: str, found: Any) -> str:
    """Say a displacement with its error bars."""
    sx, sy = (f" ± {error:.2f}" if np.isfinite(error) else "" for error in found.stderr)
    return f"{name}:  dx {found.dx:+.2f}{sx},  dy {found.dy:+.2f}{sy} px"


# the pictures


def _plate_panel(ax: Axes, plate: Image, made: Any) -> None:
    """Show the scan, the exposures found on it, and what the photograph shows."""
    factor = _factor(plate, _PLATE)
    rows, columns = np.arange(plate.shape[0]), np.arange(plate.shape[1])
    show(ax, _part(plate, rows, columns, factor), "the scan, and the exposures on it")
    ax.set_anchor("N")
    for name in RGB:
        _box(ax, made.exposures[name], factor, COLOURS[name], 2.4)
        top, _, left, _ = made.exposures[name]
        ax.annotate(
            f"{name}, stays" if name == made.reference else name,
            (left / factor, top / factor),
            xytext=(8, -8),
            textcoords="offset points",
            va="top",
            fontsize=SIZES["label"],
            color="white",
            bbox={"boxstyle": "round,pad=0.3", "facecolor": COLOURS[name], "edgecolor": "none"},
        )
    _box(ax, made.crop, factor, "white", 1.4, linestyle="--")


def _box(ax: Axes, rectangle: Rectangle, factor: int, colour: str, width: float, **look: Any) -> None:
    """Draw a rectangle of the plate on the reduced plate."""
    from matplotlib.patches import Rectangle as Box

    top, bottom, left, right = (value / factor - 0.5 for value in rectangle)
    ax.add_patch(Box((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=width, **look))


def _pictures(axes: Mapping[str, Axes], plate: Image, made: Any) -> tuple[float, float, float]:
    """Show before and after, as a whole and in detail; return (left, top, side) of the detail in the whole."""
    picture = np.asarray(made.rgb)
    factor = _factor(picture)
    whole = _reduced(picture, factor)
    titles = ("the exposures, laid on one another", "aligned")
    before_after((axes["before"], axes["after"]), _unaligned(plate, made, made.crop, factor), whole, titles=titles)
    coarser = max(1, -(-max(whole.shape[:2]) // _SOUGHT))
    sketch = _reduced(whole, coarser)
    short = min(sketch.shape[:2])
    found = detail(sketch, min(0.3, max(_DETAIL / factor / coarser, 8) / short))
    top, bottom, left, _ = (value * coarser for value in found)
    side = (bottom - top) * factor
    down, right = top * factor, left * factor
    where = (made.crop[0] + down, made.crop[0] + down + side, made.crop[2] + right, made.crop[2] + right + side)
    close = picture[down : down + side, right : right + side]
    pair = (axes["close before"], axes["close after"])
    before_after(pair, _unaligned(plate, made, where, 1), close, titles=("in detail", "in detail, aligned"))
    for ax in (axes["before"], axes["after"], *pair):
        ax.set_anchor("N")
    return left - 0.5, top - 0.5, bottom - top


def _outline(before: Axes, after: Axes, window: tuple[float, float, float]) -> None:
    """Outline the detail in the whole pictures."""
    from matplotlib.patches import Rectangle as Box

    left, top, side = window
    for ax in (before, after):
        for colour, line in ((INK, 3.6), ("white", 1.8)):
            ax.add_patch(Box((left, top), side, side, fill=False, edgecolor=colour, linewidth=line))


def _unaligned(plate: Image, made: Any, where: Rectangle, factor: int) -> Levels:
    """Return a rectangle of the reference's exposure with the other two as they come, reduced; one after the other."""
    top, bottom, left, right = where
    levels = np.empty(((bottom - top) // factor, (right - left) // factor, 3), np.float32)
    for n, name in enumerate(RGB):
        down = made.exposures[name][0] - made.exposures[made.reference][0]
        across = made.exposures[name][2] - made.exposures[made.reference][2]
        rows = np.arange(top + down, bottom + down).clip(0, plate.shape[0] - 1)
        columns = np.arange(left + across, right + across).clip(0, plate.shape[1] - 1)
        levels[..., n] = _part(plate, rows, columns, factor)
    return 1 - levels if made.inverted else levels


def _part(plate: Image, rows: NDArray[np.intp], columns: NDArray[np.intp], factor: int) -> Levels:
    """Return some rows and columns of a plate in grey, reduced; a few rows at a time, for plates are large."""
    high, wide = len(rows) // factor, len(columns) // factor
    levels = np.empty((high, wide), np.float32)
    for first in range(0, high, _ROWS):
        stop = min(first + _ROWS, high)
        strip = plate[rows[first * factor : stop * factor]][:, columns]
        levels[first:stop] = _reduced(_grey(strip), factor)
    return levels


def _grey(part: Image) -> Image:
    """Return grey levels, of a colour scan the mean of its channels."""
    return part if part.ndim == 2 else part.mean(axis=2, dtype=np.float32) / _top(part)


def _top(part: Image) -> float:
    """Return the number that stands for white."""
    return float(np.iinfo(part.dtype).max) if part.dtype.kind in "iu" else 1.0


def _factor(image: Image, shown: int = _PICTURE) -> int:
    """Return by how much to reduce an image for the page, on which its longer side has so many pixels."""
    longer: int = max(image.shape[:2])
    return max(1, -(-longer // shown))


def _reduced(image: Image, factor: int) -> Levels:
    """Return the means of blocks of an image, as floats in [0, 1]; a rest that fills no block is left out."""
    if factor == 1:
        return as_float(image)
    if image.ndim == 2:
        return block_mean(image, factor)
    return np.stack([block_mean(image[..., n], factor) for n in range(image.shape[2])], axis=2)


# the descent


def _convergence(ax: Axes, found: Mapping[str, Any]) -> None:
    """Draw the loss of both channels over the evaluations."""
    for name, one in found.items():
        if len(one.trace):
            convergence(ax, one.trace, label=name, colour=COLOURS[name], marker=MARKERS[name])
    ncc = all(one.loss < 0 for one in found.values())  # an MSE never is
    ax.set_title("loss over the evaluations, a line for each level of the pyramid", fontsize=SIZES["title"], pad=8)
    name_axes(ax, "", "negative NCC" if ncc else "MSE")
    ax.margins(0.03, 0.1)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=SIZES["tick"], loc="best")


def _landscape(ax: Axes, plate: Image, made: Any, name: str) -> None:
    """Draw the loss of one channel over the displacements around, and the path of its descent."""
    found = made.registrations[name]
    box = ax.get_window_extent()
    shape = box.width / box.height
    down_reach = max(_FEWEST * _coarse(made), 1.4 * abs(found.dy), 1.4 * abs(found.dx) / shape)
    surface, factor = _surface(plate, made, name, (down_reach * shape, down_reach))
    across, down = (factor * np.arange(-most, most + 1.0) for most in surface.max_shift)
    loss = np.ma.masked_invalid(surface.loss)
    heights = np.unique(np.quantile(loss.compressed(), np.linspace(0, 1, 17)))
    if len(heights) > 1:
        ax.contourf(across, down, loss, levels=heights, cmap=SEQUENTIAL, norm=_ranks(heights))
    if len(found.trace):
        path(ax, found.trace, colour="white", outline=INK)
    ax.plot(found.dx, found.dy, "+", color=COLOURS["red"], markersize=18, markeredgewidth=2.0, zorder=9)
    ax.set_aspect("equal", adjustable="box")
    ax.set(xlim=(across[0], across[-1]), ylim=(down[-1], down[0]))
    name_axes(ax, "dx  (px)", "dy  (px)")
    ax.grid(False)
    ax.locator_params(nbins=5, integer=True)
    ax.set_title(f"loss of {name}, path and result", fontsize=SIZES["title"], pad=8)


def _coarse(made: Any) -> int:
    """Return by how much exposures are reduced, at least, before they are compared."""
    short: int = min(min(bottom - top, right - left) for top, bottom, left, right in made.exposures.values())
    return 1 << max(0, (short // _ENOUGH).bit_length() - 1)


def _ranks(heights: Levels) -> Any:
    """Return the norm that gives each band between two contours a colour of its own."""
    from matplotlib.colors import BoundaryNorm

    return BoundaryNorm(heights, 256)


def _surface(plate: Image, made: Any, name: str, reach: tuple[float, float]) -> tuple[LagSurface, int]:
    """Return the loss at whole displacements of reduced exposures, and by how much they are reduced."""
    options = getattr(made.registrations[name], "options", {})
    frames = [made.exposures[channel] for channel in (made.reference, name)]
    rows, columns = (min(frame[side + 1] - frame[side] for frame in frames) for side in (0, 2))
    y, x = rows // 10, columns // 10  # the frames, which do not move with the content
    factor = _coarse(made)
    while max(reach) / factor > _LAGS and min(rows - 2 * y, columns - 2 * x) // (2 * factor) >= 2 * _LAGS:
        factor *= 2
    down, across = np.arange(y, rows - y), np.arange(x, columns - x)
    small = [_part(plate, top + down, left + across, factor) for top, _, left, _ in frames]
    if options.get("features") == "edges":
        small = [edges(Masked(image)).image for image in small]
    height, width = small[0].shape
    most = min(math.ceil(reach[0] / factor), width // 2 - 1), min(math.ceil(reach[1] / factor), height // 2 - 1)
    return all_lags(small[0], small[1], loss=options.get("loss", "ncc"), max_shift=most), factor


# what is left over


class _Field(NamedTuple):
    """Displacements at places of the picture, in pixels; not a number where there is too little structure."""

    x: Levels
    y: Levels
    dx: Levels
    dy: Levels


def _residual(picture: Image, name: str, made: Any) -> _Field:
    """Return by how much a channel of the finished picture is off the reference from tile to tile."""
    options = getattr(made.registrations[name], "options", {})
    features = options.get("features", "intensity")
    reference, moving = (picture[..., RGB.index(channel)] for channel in (made.reference, name))
    height, width = reference.shape
    side = max(max(height, width) / _TILES, 1)
    rows, columns = max(round(height / side), 1), max(round(width / side), 1)
    halvings = max(0, round(math.log2(max(side / _TILE, 1))))
    found = []
    for j in range(rows):
        for i in range(columns):
            tile = np.s_[
                j * height // rows : (j + 1) * height // rows, i * width // columns : (i + 1) * width // columns
            ]
            dx, dy = _tile(reference[tile], moving[tile], features, halvings)
            found.append(((i + 0.5) * width / columns, (j + 0.5) * height / rows, dx, dy))
    return _Field(*np.array(found).T)


def _tile(reference: Image, moving: Image, features: str, halvings: int) -> tuple[float, float]:
    """Register one tile; (nan, nan) where that does not converge."""
    pair = [as_float(np.ascontiguousarray(image)) for image in (reference, moving)]
    for _ in range(halvings):
        pair = [halve(Masked(image)).image for image in pair]
    scale = 2**halvings
    reach = max(6.0 / scale, 3.0)
    if min(pair[0].shape) < 24 or any(np.ptp(image) == 0 for image in pair):
        return np.nan, np.nan
    compared = features if features in ("intensity", "edges", "fine") else "auto"
    found = register(pair[0], pair[1], features=compared, max_shift=reach, border=0.02)
    known = found.success and max(found.stderr) < _KNOWN
    return (scale * found.dx, scale * found.dy) if known else (np.nan, np.nan)


def _common_scale(fields: Mapping[str, _Field]) -> float:
    """Return how many times longer the arrows of both maps are drawn, a round number."""
    lengths = np.concatenate([np.hypot(f.dx, f.dy)[np.isfinite(f.dx)] for f in fields.values()])
    longest = float(np.quantile(lengths, 0.9)) if lengths.size else 0.0  # a few may be longer than the gaps
    first = next(iter(fields.values()))
    gaps = [np.diff(np.unique(values)).min() for values in (first.x, first.y) if len(np.unique(values)) > 1]
    factor = 0.9 * float(min(gaps, default=10.0)) / max(longest, 0.05)
    power = 10.0 ** np.floor(np.log10(factor))
    return float(max(r for r in (1.0, 2.0, 5.0) if r * power <= factor * (1 + 1e-9)) * power)


def _residual_panel(ax: Axes, picture: Image, field: _Field, name: str, reference: str, magnify: float) -> None:
    """Draw what is left over of one channel, and what it looks like."""
    factor = _factor(picture)
    grey = _reduced(picture[..., RGB.index(reference)], factor)
    show(ax, grey, f"{name} against {reference}, left over")
    ax.images[-1].set_alpha(0.35)
    ax.set_anchor("N")
    x, y = ((values + 0.5) / factor - 0.5 for values in (field.x, field.y))
    known = np.isfinite(field.dx)
    ax.quiver(
        x[known], y[known], field.dx[known], field.dy[known], angles="xy", scale_units="xy", scale=factor / magnify,
        color=COLOURS[name], width=0.013, headwidth=3.6, headlength=4, minlength=0.5, edgecolor="white", linewidth=0.8,
    )  # fmt: skip
    ax.plot(x[~known], y[~known], "x", color="#707070", markersize=6, markeredgewidth=1.4)
    ax.set_xlabel(_said(field, magnify), fontsize=SIZES["tick"])


def _said(field: _Field, magnify: float) -> str:
    """Say how much is left over, and how much of it a rotation or a change of scale would explain."""
    known = np.isfinite(field.dx)
    if not known.any():
        return "too little structure to tell"
    u, v = field.dx[known], field.dy[known]
    rms = float(np.sqrt(np.mean(u**2 + v**2)))
    said = f"rms {rms:.2f} px; arrows {magnify:g} times as long"
    if not known.all():
        said += "\n×: too little structure"
    x, y = field.x[known] - field.x[known].mean(), field.y[known] - field.y[known].mean()
    spread = float(np.sum(x**2 + y**2))
    scatter = float(np.sum((u - u.mean()) ** 2 + (v - v.mean()) ** 2))
    if known.sum() < 6 or spread == 0 or scatter == 0 or rms < 0.1:
        return said
    turn, scale = float(np.sum(x * v - y * u)) / spread, float(np.sum(x * u + y * v)) / spread
    for share, what in ((turn, f"a turn by {np.degrees(turn):+.3f}°"), (scale, f"a scale of {1 + scale:.4f}")):
        explained = share**2 * spread / scatter
        if explained > 0.4:
            said += f"\n{what} would explain {explained:.0%} of it"
    return said
