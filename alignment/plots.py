"""Pictures of an alignment: what it looked like before and after, how the loss fell, and the path that descent took.

Each function draws on the axes it is given and returns them, so that figures can be put together freely; none of them
touches matplotlib's global state, so all work without a screen. The colours are those of Okabe and Ito, which stay
apart for colour-blind readers, and each channel has a marker of its own besides.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._checks import InputError
from .imagefiles import as_float, image_format, replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["before_after", "convergence", "demo_figure", "detail", "new_figure", "path", "save", "unaligned"]

Image = NDArray[Any]
Rectangle = tuple[int, int, int, int]

RGB = ("red", "green", "blue")
COLOURS = {"red": "#D55E00", "green": "#009E73", "blue": "#0072B2"}  # Okabe and Ito: vermilion, bluish green, blue
MARKERS = {"red": "o", "green": "^", "blue": "s"}
INK, FAINT = "#222222", "#9A9A9A"
_DEFAULT = "#0072B2"
_STYLE = {"title": 14.0, "label": 12.5, "tick": 11.5}  # points


def new_figure(width: float = 6.4, height: float = 4.8) -> Figure:
    """Return an empty figure that needs neither a screen nor pyplot.

    Parameters
    ----------
    width, height : float
        In inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | os.PathLike[str], *, overwrite: bool = False, dpi: float = 125) -> None:
    """Write a figure so that either the complete file appears or nothing.

    Parameters
    ----------
    figure : Figure
    path : str or path
        The suffix chooses the format: PNG, TIFF or JPEG, or ``.pdf`` and ``.svg`` for vectors.
    overwrite : bool
        Replace a file that is already there; otherwise it is refused.
    dpi : float
        Pixels per inch.

    Raises
    ------
    InputError
        If the suffix is not known, or the file exists or cannot be written.
    """
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    kind = suffix[1:] if suffix in (".pdf", ".svg") else image_format(path).lower()
    with replace_file(path, overwrite=overwrite) as file:
        figure.savefig(file, format=kind, dpi=dpi)


# pieces


def before_after(
    axes: Iterable[Axes], before: Image, after: Image, *, titles: tuple[str, str] = ("before", "after")
) -> tuple[Axes, Axes]:
    """Show a picture before and after on two axes.

    Parameters
    ----------
    axes : two Axes
        In a sequence or an array.
    before, after : ndarray of shape (H, W) or (H, W, 3)
        Grey levels or colours, integers by the range of their dtype, floats in [0, 1].
    titles : (str, str)

    Returns
    -------
    (Axes, Axes)
    """
    first, second = axes
    for ax, image, title in ((first, before, titles[0]), (second, after, titles[1])):
        _show(ax, image, title)
    return first, second


def convergence(
    ax: Axes,
    trace: NDArray[Any],
    *,
    label: str | None = None,
    colour: str = _DEFAULT,
    marker: str = "o",
    ylabel: str = "loss",
) -> Axes:
    """Draw the loss over the steps of a descent, each level of the pyramid as a line of its own.

    Parameters
    ----------
    ax : Axes
    trace : structured ndarray
        Has the field loss, and level where there is a pyramid: the trace of a `Registration` or of a `Descent`.
    label : str, optional
        For the legend.
    colour, marker : str
        As matplotlib knows them.
    ylabel : str
        What the loss is called.

    Returns
    -------
    Axes

    Notes
    -----
    Losses of two levels are taken over different images, so the lines are not joined; a ring marks where a
    level begins.
    """
    trace = _checked(trace, "loss")
    steps = np.arange(len(trace))
    runs = list(_runs(trace))
    for number, run in enumerate(runs):
        name = label if number == 0 else None
        ax.plot(steps[run], trace["loss"][run], color=colour, marker=marker, markersize=4, linewidth=1.6, label=name)
    starts = [run.start for run in runs]
    ax.plot(steps[starts], trace["loss"][starts], marker, color=colour, markerfacecolor="white", markersize=7)
    ax.set_xlabel("evaluation", fontsize=_STYLE["label"])
    ax.set_ylabel(ylabel, fontsize=_STYLE["label"])
    ax.locator_params(axis="x", integer=True, nbins=6)
    return _plain(ax)


def path(
    ax: Axes,
    trace: NDArray[Any],
    truth: tuple[float, float] | None = None,
    *,
    objective: Any = None,
    label: str | None = None,
    colour: str = _DEFAULT,
    marker: str = "o",
) -> Axes:
    """Draw the path of a descent in the plane of displacements, with equal scales and dy downwards as in an image.

    Parameters
    ----------
    ax : Axes
    trace : structured ndarray
        Has the fields dx and dy, in pixels of the full resolution.
    truth : (float, float), optional
        The true (dx, dy), marked by a cross.
    objective : optional
        Something with ``value_and_gradient(dx, dy)``; its contours are drawn under the path, from 25 x 25 values.
    label : str, optional
        For the legend.
    colour, marker : str
        As matplotlib knows them.

    Returns
    -------
    Axes
    """
    trace = _checked(trace, "dx", "dy")
    x, y = trace["dx"], trace["dy"]
    if objective is not None:
        _contours(ax, objective, x, y, truth)
    ax.plot(x, y, color=colour, marker=marker, markersize=3.5, linewidth=1.6, label=label, zorder=3)
    ax.plot(x[:1], y[:1], marker, color=colour, markerfacecolor="white", markersize=7, zorder=4)
    if truth is not None:
        ax.plot(*truth, "+", color=INK, markersize=17, markeredgewidth=1.6, zorder=5)
    ax.set_xlabel("dx  (px, right)", fontsize=_STYLE["label"])
    ax.set_ylabel("dy  (px, down)", fontsize=_STYLE["label"])
    ax.set_aspect("equal", adjustable="datalim")
    if not ax.yaxis_inverted():
        ax.invert_yaxis()
    return _plain(ax)


# the figure of the demonstration


def demo_figure(
    plate: Image,
    colorization: Any,
    truth: Mapping[str, tuple[float, float]] | None = None,
    *,
    descents: Mapping[str, Any] | None = None,
) -> Figure:
    """Put the whole story of one plate on one page.

    The plate with its three exposures, the exposures laid on one another as they come and aligned, a detail of both,
    the loss, and the path of both channels.

    Parameters
    ----------
    plate : ndarray of shape (H, W)
        The scan.
    colorization : Colorization
        What `colorize` made of it.
    truth : mapping, optional
        The true (dx, dy) of a channel, between the rectangles of ``colorization.exposures``; marked in the last panel.
    descents : mapping, optional
        For each channel that moved a `Registration` whose way to show, if not that of ``colorization.registrations``.

    Returns
    -------
    Figure
        About 15 inches wide.
    """
    grey = plate if plate.ndim == 2 else plate.mean(axis=2)
    before = unaligned(grey, colorization.exposures, colorization.crop, colorization.reference)
    after = np.asarray(colorization.rgb)
    figure, axes = _demo_axes(grey.shape[0] / grey.shape[1], after.shape[0] / after.shape[1])
    _plate_panel(axes["plate"], grey, colorization)
    whole, close = (axes["before"], axes["after"]), (axes["close before"], axes["close after"])
    before_after(whole, before, after, titles=("the exposures, laid on one another", "aligned"))
    _details(whole, close, (before, after), detail(after))
    _descent_panels(axes["loss"], axes["path"], descents or colorization.registrations, truth or {})
    return figure


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


def _demo_axes(plate: float, picture: float) -> tuple[Figure, dict[str, Axes]]:
    """Lay out the page for a plate and a picture of these heights over widths, so that all edges line up; in inches."""
    margin, gap, title = 0.3, 0.16, 0.42
    wide = 5.3  # a picture
    high = wide * min(max(picture, 0.5), 1.4)
    side = 2.25  # a detail, and the height of the two diagrams
    between, below = 0.95, 0.72
    bottom, top = below, below + side + between
    right = 2 * margin + (top + high - bottom) / plate
    total = right + 2 * wide + gap
    room = (2 * wide + gap - 2 * side - gap - 0.85 - 0.72) / 2  # for a diagram, beside its numbers
    places = {
        "plate": (margin, bottom, (top + high - bottom) / plate, top + high - bottom),
        "before": (right, top, wide, high),
        "after": (right + wide + gap, top, wide, high),
        "close before": (right, bottom, side, side),
        "close after": (right + side + gap, bottom, side, side),
        "loss": (total - 2 * room - 0.72, bottom, room, side),
        "path": (total - room, bottom, room, side),
    }
    width, height = total + margin, top + high + title + 0.1
    figure = new_figure(width, height)
    scale = np.array((width, height, width, height))
    return figure, {name: figure.add_axes(tuple(place / scale)) for name, place in places.items()}


def _plate_panel(ax: Axes, plate: Image, colorization: Any) -> None:
    """Show the plate, the rectangle of each exposure, and its name."""
    from matplotlib.patches import Rectangle as Box

    _show(ax, plate, f"the plate, {plate.shape[1]} x {plate.shape[0]} px")
    for name in RGB:
        top, bottom, left, right = colorization.exposures[name]
        ax.add_patch(Box((left, top), right - left, bottom - top, fill=False, edgecolor=COLOURS[name], linewidth=2.2))
        ax.annotate(
            name,
            (left, top),
            xytext=(9, -9),
            textcoords="offset points",
            va="top",
            fontsize=_STYLE["label"],
            color="white",
            bbox={"boxstyle": "round,pad=0.3", "facecolor": COLOURS[name], "edgecolor": "none"},
        )


def _details(
    whole: tuple[Axes, Axes], close: tuple[Axes, Axes], pictures: tuple[Image, Image], window: Rectangle
) -> None:
    """Show the window magnified, pixel by pixel, and outline it in the whole pictures."""
    from matplotlib.patches import Rectangle as Box

    top, bottom, left, right = window
    before_after(close, *(p[top:bottom, left:right] for p in pictures), titles=("in detail", "in detail, aligned"))
    for ax in whole:
        for colour, line in ((INK, 3.6), ("white", 1.8)):
            box = Box((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=line)
            ax.add_patch(box)


def _descent_panels(
    losses: Axes, plane: Axes, descents: Mapping[str, Any], truth: Mapping[str, tuple[float, float]]
) -> None:
    """Draw the loss and the path of the two channels that moved."""
    for name, found in descents.items():
        look = {"colour": COLOURS[name], "marker": MARKERS[name]}
        convergence(losses, found.trace, label=name, **look)
        target = truth.get(name)
        path(plane, found.trace, target, **look)
        text = name
        if target is not None:
            text += f": off by {np.hypot(found.dx - target[0], found.dy - target[1]):.3f} px"
        above = found.dy <= min(other.dy for other in descents.values())
        plane.text(
            0.5,
            0.98 if above else 0.02,
            text,
            transform=plane.transAxes,
            ha="center",
            va="top" if above else "bottom",
            fontsize=_STYLE["tick"],
            color=COLOURS[name],
        )
    ncc = all(found.loss < 0 for found in descents.values())  # an MSE never is
    losses.set_title("loss: negative NCC" if ncc else "loss: MSE", fontsize=_STYLE["title"], pad=8)
    losses.set_ylabel("")
    losses.margins(0.08)
    plane.set_title("path of descent" + (", + truth" if truth else ""), fontsize=_STYLE["title"], pad=8)
    plane.margins(0.24)
    plane.locator_params(nbins=6, integer=True)
    losses.legend(frameon=False, fontsize=_STYLE["tick"], loc="best")


# small things


def _show(ax: Axes, image: Image, title: str) -> None:
    """Show an image on a fixed scale, without ticks."""
    levels = np.clip(as_float(image) if np.asarray(image).dtype.kind in "iu" else image, 0.0, 1.0)
    ax.imshow(levels, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest" if max(levels.shape) < 200 else None)
    ax.set_title(title, fontsize=_STYLE["title"], pad=8, color=INK)
    ax.set_axis_on()
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def _plain(ax: Axes) -> Axes:
    """Take away what no reader needs."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=_STYLE["tick"])
    ax.grid(True, color="#E4E4E4", linewidth=0.8)
    ax.set_axisbelow(True)
    return ax


def _checked(trace: NDArray[Any], *fields: str) -> NDArray[Any]:
    """Return the trace if it has records with these fields."""
    names = getattr(getattr(trace, "dtype", None), "names", None) or ()
    missing = [field for field in fields if field not in names]
    if missing or len(trace) == 0:
        raise InputError(
            f"trace has {len(trace)} records with the fields {', '.join(names) or 'none'}; "
            f"give the trace of a descent, with {' and '.join(fields)}"
        )
    return trace


def _runs(trace: NDArray[Any]) -> Iterator[slice]:
    """Cut the trace where the level of the pyramid changes."""
    names = trace.dtype.names or ()
    changes = np.flatnonzero(np.diff(trace["level"])) + 1 if "level" in names else np.array([], int)
    edges = [0, *changes.tolist(), len(trace)]
    for start, stop in pairwise(edges):
        yield slice(start, stop)


def _contours(ax: Axes, objective: Any, x: Image, y: Image, truth: tuple[float, float] | None) -> None:
    """Draw the loss over the part of the plane that the path visits."""
    points = np.column_stack((x, y)) if truth is None else np.vstack((np.column_stack((x, y)), truth))
    low, high = points.min(axis=0), points.max(axis=0)
    middle, reach = (low + high) / 2, 0.7 * max(float((high - low).max()), 1.0)
    across, down = (np.linspace(centre - reach, centre + reach, 25) for centre in middle)
    values = np.array([[objective.value_and_gradient(u, v)[0] for u in across] for v in down])
    ax.contour(across, down, values, levels=12, colors=FAINT, linewidths=0.8, zorder=1)
