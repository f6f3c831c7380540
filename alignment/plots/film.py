"""Channels sliding into place: the picture at each step of a descent, beside the path on the landscape."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._checks import InputError, whole_number
from ..bilinear import shift
from ..imagefiles import as_float, replace_file
from ..surfaces import Region
from .landscapes import landscape
from .style import COLOURS, INK, MARKERS, RGB, SIZES, Image, new_figure, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# colours of the file: enough for a photograph, few enough to pack well
_PALETTE = 48


def animation(
    channels: Mapping[str, Image],
    traces: Mapping[str, NDArray[Any]],
    objectives: Mapping[str, Any],
    *,
    reference: str = "green",
    truth: Mapping[str, tuple[float, float]] | None = None,
    frames: int = 18,
    width: int = 520,
) -> list[NDArray[np.uint8]]:
    """Draw the frames of a film in which two channels slide onto the third.

    Parameters
    ----------
    channels : mapping
        "red", "green" and "blue", each of shape (H, W), integers by the range of their dtype.
    traces : mapping
        For the two channels that move the trace of a descent, with the fields dx and dy in pixels.
    objectives : mapping
        For the two channels that move what the landscapes are made of.
    reference : str
        The channel that stays.
    truth : mapping, optional
        The true (dx, dy) of the channels that move, marked by crosses.
    frames : int
        How many; each shows a later point of both paths, the last one the end.
    width : int
        Of a frame, in pixels.

    Returns
    -------
    list of ndarray of shape (height, width, 3), uint8

    Raises
    ------
    InputError
        If a channel or a trace is missing, or there are fewer than two frames.
    """
    frames = whole_number("frames", frames, at_least=2)
    moving = [name for name in RGB if name != reference]
    _check("channels", channels, RGB)
    _check("traces", traces, moving)
    _check("objectives", objectives, moving)
    walks = {name: _Walk(traces[name]) for name in moving}
    shares = np.linspace(0.0, 1.0, frames).tolist()
    levels = {name: as_float(channels[name]) for name in RGB}
    figure, picture, lines = _stage(levels, walks, objectives, truth or {}, width)
    canvas: Any = figure.canvas
    canvas.draw()
    # what stands still is drawn once
    still = canvas.copy_from_bbox(figure.bbox)
    film = []
    for share in shares:
        gone = {name: walk.until(share) for name, walk in walks.items()}
        picture.set_data(_laid(levels, {name: points[-1] for name, points in gone.items()}))
        for name, line in lines.items():
            line.set_data(*gone[name].T)
        canvas.restore_region(still)
        for artist in (picture, *lines.values()):
            artist.axes.draw_artist(artist)
        film.append(np.array(canvas.buffer_rgba())[..., :3])
    return film


def save_animation(
    film: Sequence[NDArray[np.uint8]],
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    seconds: float = 0.15,
    pause: float = 2.0,
) -> None:
    """Write frames as a GIF that repeats for ever, so that either the complete file appears or nothing.

    Parameters
    ----------
    film : sequence of ndarray of shape (height, width, 3), uint8
    path : str or path
        Ends in ``.gif``.
    overwrite : bool
        Replace a file that is already there; otherwise it is refused.
    seconds, pause : float
        How long each frame is shown, and the first and the last.

    Raises
    ------
    InputError
        If the name does not end in .gif, there is no frame, or the file exists or cannot be written.
    """
    check_animation(path)
    if not len(film):
        raise InputError("the film has no frame; give one at the least")
    import imageio.v3

    few = _with_few_colours(film)
    times = [1000 * (pause if i in (0, len(few) - 1) else seconds) for i in range(len(few))]
    with replace_file(path, overwrite=overwrite) as file:
        imageio.v3.imwrite(file, few, extension=".gif", plugin="pillow", duration=times, loop=0, optimize=True)


def check_animation(path: str | os.PathLike[str]) -> None:
    """Refuse a name that does not end in .gif."""
    if os.path.splitext(os.fspath(path))[1].lower() != ".gif":
        raise InputError(f"{os.fspath(path)} is to hold an animation; give a name that ends in .gif")


def _check(kind: str, given: Mapping[str, Any], wanted: Sequence[str]) -> None:
    """Refuse a mapping that lacks a channel."""
    for name in wanted:
        if name not in given:
            raise InputError(f"{kind} has no {name}; give {', '.join(wanted)}")


class _Walk:
    """The points of a descent, and how far it has come at each."""

    def __init__(self, trace: NDArray[Any]) -> None:
        self.points = np.column_stack((trace["dx"], trace["dy"])).astype(np.float64)
        self._travelled = np.concatenate([[0.0], np.hypot(*np.diff(self.points, axis=0).T).cumsum()])

    def until(self, share: float) -> NDArray[np.float64]:
        """Return the points passed when this share of the way has been travelled, and the place then, shape (N, 2)."""
        place = share * self._travelled[-1]
        here = [np.interp(place, self._travelled, self.points[:, i]) for i in (0, 1)]
        return np.vstack((self.points[self._travelled < place], here))


def _laid(levels: Mapping[str, Image], at: Mapping[str, Any]) -> Image:
    """Return the colour picture with the channels at these displacements, at half its size."""
    laid = [shift(levels[n], *map(float, at[n]), boundary="edge") if n in at else levels[n] for n in RGB]
    picture = np.stack(laid, axis=2)
    height, width = (n - n % 2 for n in picture.shape[:2])
    halved: Image = picture[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
    return halved.clip(0.0, 1.0)


def _region(points: NDArray[np.float64]) -> Region:
    """Return a square with whole numbers for edges that holds a path."""
    middle = np.round((points.min(axis=0) + points.max(axis=0)) / 2)
    reach = float(np.ceil(np.abs(points - middle).max() + 1.5))
    return float(middle[0] - reach), float(middle[0] + reach), float(middle[1] - reach), float(middle[1] + reach)


def _stage(
    levels: Mapping[str, Image],
    walks: Mapping[str, _Walk],
    objectives: Mapping[str, Any],
    truth: Mapping[str, tuple[float, float]],
    width: int,
) -> tuple[Figure, Any, dict[str, Any]]:
    """Lay out the page; return the figure, the picture and the line of each path."""
    start = _laid(levels, dict.fromkeys(walks, (0.0, 0.0)))
    across, share = 6.4, 0.56  # inches, and the picture's part of them
    high = share * across * start.shape[0] / start.shape[1]
    figure = new_figure(across, high)
    figure.set_dpi(width / across)
    ax = figure.add_axes((0.0, 0.0, share, 1.0))
    show(ax, start, "")
    ax.set_aspect("auto")
    lines = {}
    room = high / len(walks)
    side = min(room - 0.38, (1 - share) * across - 1.2)  # of a landscape; the rest is for its numbers
    for row, name in enumerate(walks):
        place = (share + 0.42 / across, 1 - (row * room + 0.06 + side) / high, side / across, side / high)
        panel = figure.add_axes(place)
        look: dict[str, Any] = {"step": 0.25, "minima": False, "bar": False, "levels": 9}
        landscape(panel, objectives[name], region=_region(walks[name].points), **look)
        panel.set(xlabel="", ylabel="", aspect="auto")
        panel.tick_params(labelsize=SIZES["tick"] - 2)
        panel.locator_params(nbins=4, integer=True)
        if name in truth:
            panel.plot(*truth[name], "+", color="white", markersize=11, markeredgewidth=1.5)
        look = {"color": COLOURS[name], "marker": MARKERS[name], "markeredgecolor": "white", "zorder": 6}
        (lines[name],) = panel.plot([], [], markersize=4, markeredgewidth=0.6, linewidth=1.6, **look)
        look = {"transform": panel.transAxes, "va": "top", "fontsize": SIZES["tick"] - 1}
        panel.text(1.06, 1.0, name, color=COLOURS[name], **look)
        panel.text(1.06, 0.86, "dx, dy\n(px)", color=INK, **look)
    return figure, ax.images[0], lines


def _with_few_colours(film: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Return the frames in one small palette, without dithering, so that what stands still packs to nothing."""
    from PIL import Image as Pillow

    # the few pixels of a path would not find their own colours, and the page would not be quite white
    own = [int(colour[i : i + 2], 16) for colour in (*COLOURS.values(), INK, "#FFFFFF") for i in (1, 3, 5)]
    others = _PALETTE - len(own) // 3
    tall = Pillow.fromarray(np.concatenate([film[0], film[len(film) // 2], film[-1]]))
    found = tall.quantize(others, method=Pillow.Quantize.MEDIANCUT).getpalette() or []
    palette = Pillow.new("P", (1, 1))
    palette.putpalette(found[: 3 * others] + own)
    plain = [Pillow.fromarray(frame).quantize(palette=palette, dither=Pillow.Dither.NONE) for frame in film]
    return [np.asarray(frame.convert("RGB")) for frame in plain]
