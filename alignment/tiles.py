"""What one displacement cannot do: the same engine over a grid of tiles, and what its answers add up to.

A scanned negative may be turned or stretched against the next one, a glass plate may have moved in parts, and a scene
has depth. Each tile then has a displacement of its own, and the error bar of the one displacement of all of them says
how well their mean is known and not how well it fits.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import Image, InputError, Mask
from .distortion import Distortion, distortion
from .pyramid import Masked, smooth
from .registration import Registration, register

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# pixels around a tile that its kernel may read, beside those that are compared
_BESIDE = 6
# pixels along the short side of a tile at the least
_SMALLEST = 24
# the share of a tile that has to be usable
_USABLE = 0.3
# how far, in pixels, and in shares of the tile's short side, a tile may lie from the displacement of all
_REACH = 3.0
_REACH_SHARE = 1 / 16
# beyond this share of the tile's short side the reach does not go
_REACH_MOST = 1 / 4


@dataclass(frozen=True)
class LocalDisplacements:
    """The displacements of tiles, less that of the whole.

    Arrays have the shape (rows, columns) of the grid; what is not known in a tile is nan there.

    Attributes
    ----------
    registration : Registration
        Of the whole images.
    x, y : ndarray
        The middles of the tiles, in pixels of the reference.
    dx, dy : ndarray
        The residual displacements, in pixels: those of the tiles less that of the whole.
    covariance : ndarray of shape (rows, columns, 2, 2)
        Of (dx, dy) in each tile, in square pixels.
    status : ndarray of str
        What the registration of each tile said of itself, see `Registration`, or "masked". Only those that
        "converged" have a displacement.
    spread : float
        The rms distance, in pixels, of the residual displacements from their mean; nan with fewer than two tiles.
    expected_spread : float
        What the error bars alone would make it.
    fit : Distortion
        What the displacements look like: rotation, scale, shear, local motion, or nothing but one displacement.
    tile : (int, int)
        Height and width of a tile in pixels.
    """

    registration: Registration
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    covariance: NDArray[np.float64]
    status: NDArray[np.str_]
    spread: float
    expected_spread: float
    fit: Distortion
    tile: tuple[int, int]
    shape: tuple[int, int] = field(repr=False)

    @property
    def stderr(self) -> NDArray[np.float64]:
        """The standard errors of dx and dy in each tile: shape (rows, columns, 2)."""
        return np.sqrt(np.diagonal(self.covariance, axis1=2, axis2=3))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which tiles have a displacement."""
        return np.isfinite(self.dx)

    @property
    def differs(self) -> NDArray[np.bool_]:
        """Which tiles do not follow the fit of the others."""
        grid = np.zeros(self.dx.shape, np.bool_)
        grid[self.known] = self.fit.differs
        return grid

    @property
    def kind(self) -> str:
        """What the displacements look like, in a word or two, see `Distortion`."""
        return self.fit.kind

    @property
    def rotation(self) -> float:
        """Degrees from x towards y, which is clockwise in a picture, by which the moving image's content is turned."""
        return self.fit.rotation

    @property
    def scale(self) -> float:
        """The magnification of the moving image's content."""
        return self.fit.scale

    @property
    def message(self) -> str:
        """What the displacements look like, in a sentence."""
        count, of = int(self.known.sum()), self.known.size
        tiles = f"{count} of {of} tiles tell a displacement, they spread by {self.spread:.3f} px"
        return f"{tiles} ({self.expected_spread:.3f} px by their error bars): {self.fit.message}" if count > 1 else (
            f"{count} of {of} tiles {'tells' if count == 1 else 'tell'} a displacement: {self.fit.message}"
        )  # fmt: skip

    def __str__(self) -> str:
        """Return the message."""
        return self.message

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and lists, None for what is not known; the registration is left out."""
        return {
            "convention": "residual displacements: those of the tiles less that of the whole, in pixels",
            "tiles": list(self.dx.shape),
            "tile": list(self.tile),
            "x": _plain(self.x),
            "y": _plain(self.y),
            "dx": _plain(self.dx),
            "dy": _plain(self.dy),
            "stderr": _plain(self.stderr),
            "covariance": _plain(self.covariance),
            "status": self.status.tolist(),
            "spread": _plain(self.spread),
            "expected_spread": _plain(self.expected_spread),
            "fit": {**self.fit.to_dict(), "differs": self.differs.tolist()},
            "message": self.message,
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def plot(
        self, path: str | os.PathLike[str] | None = None, *, image: ArrayLike | None = None, overwrite: bool = False
    ) -> Figure:
        """Draw the map, see `alignment.plots.tiles_figure`; write it where a path is given."""
        from .plots import save
        from .plots.tiles import tiles_figure

        figure = tiles_figure(self, image=None if image is None else np.asarray(image))
        if path is not None:
            save(figure, path, overwrite=overwrite)
        return figure


class _Tile(NamedTuple):
    """One tile: the rectangle of the reference that is compared, (top, bottom, left, right)."""

    top: int
    bottom: int
    left: int
    right: int


class _Answer(NamedTuple):
    """What a tile told, in pixels, against the displacement of the whole; and its levers, see `distortion`."""

    dx: float
    dy: float
    covariance: NDArray[np.float64]
    status: str
    levers: NDArray[np.float64]


def local_displacements(
    reference: ArrayLike,
    moving: ArrayLike,
    registration: Registration | None = None,
    *,
    tiles: tuple[int, int] = (4, 4),
    reference_mask: ArrayLike | None = None,
    moving_mask: ArrayLike | None = None,
    reach: float | None = None,
    threads: int = 1,
    **options: Any,
) -> LocalDisplacements:
    r"""Register tile by tile what one displacement has aligned, and say what is left over.

    Parameters
    ----------
    reference, moving : array_like of shape (H, W)
        Two grey images of one shape.
    registration : Registration, optional
        Of these images; found by `register` unless given.
    tiles : (int, int)
        Rows and columns of tiles, which share the window that the registration compared. A tile has at least 24 x 24
        pixels.
    reference_mask, moving_mask : array_like of shape (H, W), optional
        True where a pixel may be used.
    reach : float, optional
        How far, along each axis, a tile may lie from the displacement of all, in pixels; a sixteenth of the tile's
        short side unless given, and at least 3 px.
    threads : int
        Tiles looked at side by side. The result is the same, bit for bit.
    **options
        For `register` of the whole and of the tiles, such as loss="mse". The tiles compare the features that the
        registration of the whole did.

    Returns
    -------
    LocalDisplacements

    Raises
    ------
    InputError
        If an argument is not as described, or the tiles are too small.

    Notes
    -----
    A tile is read from the moving image a whole number of pixels away, so that nothing is interpolated twice, and
    registered as any pair is, without a border left out: displacement, covariance and status mean the same.

    Where the displacement d differs within a tile, what is measured is its mean over the structure there,

    .. math:: \left(\sum_x \nabla f \, \nabla f'\right)^{-1} \sum_x \nabla f \, \nabla f' d(x)

    and not that in the middle of the tile; the fit takes that into account.

    With few tiles a turn of the whole cannot be told from motion of its parts, and with many the error bars grow:
    n tiles have errors :math:`\sqrt n` times as large.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[0:200, 0:220].astype(float)
    >>> def scene(x, y):
    ...     return np.sin(x / 3) * np.cos(y / 4) + np.sin((x + 2 * y) / 7) + np.cos((2 * x - y) / 5)
    >>> turn = np.radians(0.2)
    >>> u, v = x - 110, y - 100
    >>> moving = scene(110 + np.cos(turn) * u + np.sin(turn) * v, 100 - np.sin(turn) * u + np.cos(turn) * v)
    >>> local = local_displacements(scene(x, y), moving, max_shift=3)
    >>> local.kind, round(local.rotation, 2)
    ('rotation', 0.2)
    """
    B, finite_b = _checks.image("reference", reference)
    A, finite_a = _checks.image("moving", moving)
    _checks.same_shape(B, A)
    shape = B.shape[0], B.shape[1]
    used = _checks.both(finite_b, _checks.mask("reference_mask", reference_mask, shape))
    usable = _checks.both(finite_a, _checks.mask("moving_mask", moving_mask, shape))
    rows, columns = _grid(tiles)
    if reach is not None:
        reach = _checks.positive_number("reach", reach)
    threads = _checks.whole_number("threads", threads, at_least=1)
    if registration is None:
        registration = register(B, A, reference_mask=used, moving_mask=usable, threads=threads, **options)
    elif not isinstance(registration, Registration):
        raise InputError(f"registration is {type(registration).__name__}; give the result of register for these images")
    grid = _cut(registration, shape, rows, columns)
    height, width = grid[0].bottom - grid[0].top, grid[0].right - grid[0].left
    radius = min(max(_REACH, _REACH_SHARE * min(height, width)), _REACH_MOST * min(height, width))
    compared = registration.options["features"]
    # where a curve turned the levels, a tile is too small to tell it: edges are near enough
    chosen = {**options, "features": "edges" if compared == "toned" else compared, "border": 0.0}

    def look(tile: _Tile) -> _Answer:
        return _registered(B, A, used, usable, registration, tile, radius if reach is None else reach, chosen)

    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(look, grid)) if threads > 1 else [look(tile) for tile in grid]
    return _collected(registration, grid, answers, (rows, columns), shape)


def _grid(tiles: Any) -> tuple[int, int]:
    """Read the numbers of rows and columns."""
    if isinstance(tiles, str) or not isinstance(tiles, Sequence | np.ndarray) or np.shape(tiles) != (2,):
        raise InputError(f"tiles is {tiles!r}; give the numbers of rows and columns, such as (4, 4)")
    rows, columns = (_checks.whole_number(f"tiles[{n}]", v, at_least=1) for n, v in enumerate(tiles))
    return rows, columns


def _cut(registration: Registration, shape: tuple[int, int], rows: int, columns: int) -> list[_Tile]:
    """Cut what the registration compared, as far as both frames show it, into tiles, row by row."""
    dx, dy = _whole(registration)
    top, bottom, left, right = registration.window
    top, bottom = max(top, 0, -dy), min(bottom, shape[0], shape[0] - dy)
    left, right = max(left, 0, -dx), min(right, shape[1], shape[1] - dx)
    high, wide = max(bottom - top, 0) // rows, max(right - left, 0) // columns
    if min(high, wide) < _SMALLEST:
        most = max(bottom - top, 0) // _SMALLEST, max(right - left, 0) // _SMALLEST
        raise InputError(
            f"tiles is {(rows, columns)}, which makes tiles of {high} x {wide} px; "
            + (f"give at most {most}" if min(most) else "give larger images")
            + f", so that each has at least {_SMALLEST} x {_SMALLEST}"
        )
    downs = np.linspace(top, bottom, rows + 1).astype(int).tolist()
    acrosses = np.linspace(left, right, columns + 1).astype(int).tolist()
    return [
        _Tile(downs[i], downs[i + 1], acrosses[j], acrosses[j + 1]) for i in range(rows) for j in range(columns)
    ]  # fmt: skip


def _whole(registration: Registration) -> tuple[int, int]:
    """Return the displacement in whole pixels."""
    return round(registration.dx), round(registration.dy)


def _registered(
    B: Image, A: Image, used: Mask | None, usable: Mask | None, registration: Registration, tile: _Tile,
    reach: float, options: dict[str, Any],
) -> _Answer:  # fmt: skip
    """Register one tile, with a rim that the kernel may read where both frames have it."""
    dx, dy = _whole(registration)
    top, bottom = _rimmed(tile.top, tile.bottom, dy, B.shape[0])
    left, right = _rimmed(tile.left, tile.right, dx, B.shape[1])
    here, there = np.s_[top:bottom, left:right], np.s_[top + dy : bottom + dy, left + dx : right + dx]
    masks = [None if mask is None else mask[place] for mask, place in ((used, here), (usable, there))]
    if any(mask is not None and mask.mean() < _USABLE for mask in masks):
        return _nothing("masked")
    found = register(
        np.ascontiguousarray(B[here]),
        np.ascontiguousarray(A[there]),
        **{
            **options, "init": (registration.dx - dx, registration.dy - dy), "max_shift": reach,
            "reference_mask": masks[0], "moving_mask": masks[1], "threads": 1, "callback": None,
        },
    )  # fmt: skip
    if not found.success or not np.isfinite(found.covariance).all() or np.linalg.det(found.covariance) <= 0:
        return _nothing(found.status if not found.success else "flat")
    levers = _levers(Masked(np.ascontiguousarray(B[here]), masks[0]), tile, top, left)
    return _Answer(
        found.dx + dx - registration.dx, found.dy + dy - registration.dy, found.covariance, found.status, levers
    )


def _nothing(status: str) -> _Answer:
    """Return the answer of a tile that has no displacement to tell."""
    return _Answer(math.nan, math.nan, np.full((2, 2), math.nan), status, np.zeros((2, 2, 2)))


def _levers(image: Masked, tile: _Tile, top: int, left: int) -> NDArray[np.float64]:
    """Return where the structure of a tile lies, from its middle: the mean of x, and of y, over it."""
    seen = smooth(image, 1.0)
    inside = np.s_[tile.top - top : tile.bottom - top, tile.left - left : tile.right - left]
    down, across = (slope[inside].astype(np.float64) for slope in np.gradient(seen.image))
    weight = np.ones(down.shape) if seen.mask is None else seen.mask[inside].astype(np.float64)
    y, x = (np.arange(size) - (size - 1) / 2 for size in down.shape)
    products = np.stack([across * across, across * down, down * down]) * weight
    xx, xy, yy = products.sum(axis=(1, 2))
    total = np.array([[xx, xy], [xy, yy]])
    if np.linalg.det(total) <= 1e-6 * np.trace(total) ** 2:
        return np.zeros((2, 2, 2))
    moments = np.stack([(products * x).sum(axis=(1, 2)), (products * y[:, None]).sum(axis=(1, 2))])
    return np.stack([np.linalg.solve(total, np.array([[a, b], [b, c]])) for a, b, c in moments])


def _rimmed(first: int, last: int, away: int, size: int) -> tuple[int, int]:
    """Widen a range of pixels by the rim, as far as it, and what is read `away` from it, lies in the frame."""
    before = min(_BESIDE, first, first + away)
    after = min(_BESIDE, size - last, size - last - away)
    return first - before, last + after


def _collected(
    registration: Registration, grid: list[_Tile], answers: list[_Answer], shape: tuple[int, int],
    frame: tuple[int, int],
) -> LocalDisplacements:  # fmt: skip
    """Put the answers into arrays, and fit."""
    x = np.array([(tile.left + tile.right - 1) / 2 for tile in grid])
    y = np.array([(tile.top + tile.bottom - 1) / 2 for tile in grid])
    found = np.array([(answer.dx, answer.dy) for answer in answers])
    covariance = np.array([answer.covariance for answer in answers])
    known = np.isfinite(found[:, 0])
    spread = expected = math.nan
    if known.sum() > 1:
        spread = float(np.sqrt(np.mean(np.sum((found[known] - found[known].mean(axis=0)) ** 2, axis=1))))
        expected = float(np.sqrt(np.mean(np.trace(covariance[known], axis1=1, axis2=2)) * (1 - 1 / known.sum())))
    levers = np.array([answer.levers for answer in answers])
    fit = distortion(np.stack([x, y], axis=1)[known], found[known], covariance[known], levers[known])
    return LocalDisplacements(
        registration=registration,
        x=x.reshape(shape),
        y=y.reshape(shape),
        dx=found[:, 0].reshape(shape),
        dy=found[:, 1].reshape(shape),
        covariance=covariance.reshape(*shape, 2, 2),
        status=np.array([answer.status for answer in answers]).reshape(shape),
        spread=spread,
        expected_spread=expected,
        fit=fit,
        tile=(grid[0].bottom - grid[0].top, grid[0].right - grid[0].left),
        shape=frame,
    )


def _plain(values: Any) -> Any:
    """Return numbers that JSON can hold, None for what is not finite."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, list):
        return [_plain(value) for value in values]
    return float(values) if math.isfinite(values) else None
