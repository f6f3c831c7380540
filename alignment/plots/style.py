"""What all pictures share: figures that need no screen, colours that stay apart for colour-blind readers, sizes.

The colours are those of Okabe and Ito; each channel has a marker of its own besides.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..imagefiles import as_float, image_format, replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Image = NDArray[Any]
Rectangle = tuple[int, int, int, int]

RGB = ("red", "green", "blue")
COLOURS = {"red": "#D55E00", "green": "#009E73", "blue": "#0072B2"}  # Okabe and Ito: vermilion, bluish green, blue
MARKERS = {"red": "o", "green": "^", "blue": "s"}
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # one line after another
INK, FAINT = "#222222", "#9A9A9A"
DEFAULT = CYCLE[0]
SEQUENTIAL, DIVERGING = "cividis", "RdBu_r"  # colour maps for what grows, and for what has two signs
SIZES = {"title": 14.0, "label": 12.5, "tick": 11.5}  # points


def new_figure(width: float = 6.4, height: float = 4.8) -> Figure:
    """Return an empty figure that needs neither a screen nor pyplot.

    Parameters
    ----------
    width, height : float
        In inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # a layout that somebody's settings ask for would move what is placed by hand
    figure = Figure(figsize=(width, height), facecolor="white", layout="none")  # type: ignore[arg-type]
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


def axes_or_new(ax: Axes | None, width: float = 6.4, height: float = 4.8) -> Axes:
    """Return the axes that were given, or those of a new figure.

    Parameters
    ----------
    ax : Axes, optional
    width, height : float
        Of a new figure, in inches.

    Notes
    -----
    Where pyplot is loaded the new figure is one of pyplot's, so that a notebook shows it; otherwise none is needed.
    """
    if ax is not None:
        return ax
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        figure = new_figure(width, height)
        figure.set_layout_engine("compressed")  # as constrained, but for axes of fixed proportions too
    else:
        figure = pyplot.figure(figsize=(width, height), layout="compressed", facecolor="white")
    axes: Axes = figure.add_subplot()
    return axes


def pair_of_axes(shape: float, width: float = 4.4) -> tuple[Axes, Axes]:
    """Return two axes of a new figure, side by side, for pictures of this width over height."""
    first = axes_or_new(None, 2 * width, width / shape + 0.4)
    figure = first.figure
    first.remove()
    one, two = figure.subplots(1, 2)
    return one, two


def show(ax: Axes, image: Image, title: str) -> None:
    """Show an image, grey or in colour, on a fixed scale and without ticks."""
    levels = np.clip(as_float(image) if np.asarray(image).dtype.kind in "iu" else image, 0.0, 1.0)
    ax.imshow(levels, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest" if max(levels.shape) < 200 else None)
    ax.set_title(title, fontsize=SIZES["title"], pad=8, color=INK)
    ax.set_axis_on()
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def plain(ax: Axes) -> Axes:
    """Take away what no reader needs."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=SIZES["tick"])
    ax.grid(True, color="#E4E4E4", linewidth=0.8)
    ax.set_axisbelow(True)
    return ax


def name_axes(ax: Axes, across: str, up: str) -> Axes:
    """Write what the two axes show, with units."""
    ax.set_xlabel(across, fontsize=SIZES["label"])
    ax.set_ylabel(up, fontsize=SIZES["label"])
    return plain(ax)
