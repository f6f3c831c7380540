r"""Stacks: the drift of a series of frames, whole and in one go, with a status for each frame.

What frames have in common is computed once: the template that they are laid on, see `alignment.template`, and where the
last frame was, see `alignment.tracker`. Frames are read one after the other, from wherever they are; a frame in which
something went wrong is told by its status and bridged by its neighbours, so that a stack never loses its count.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import InputError
from ._version import __version__
from .average import average
from .bilinear import shift
from .chain import follow
from .frames import Frames, frames_of, index_of, rejoined
from .imagefiles import replace_file
from .ledger import Ledger, Plan, unknown
from .registration import TRACE, Registration
from .template import Template, levelled
from .tracker import FAILURES, HEAD, Tracker, first_good, unfit

Array = NDArray[np.float64]
Window = tuple[int, int, int, int]

CONVENTION = "aligned(x, y) = frame(x + dx, y + dy), in pixels"
FORMAT = "alignment-stack-1"
COLUMNS = ("frame", "dx", "dy", "stderr_dx", "stderr_dy", "ncc", "blur", "success", "status")
TO = ("first", "previous", "mean")
BRIDGES = ("interpolate", "nan")

# frames that a template is the mean of, and the bytes that they may take together
_SAMPLE = 64
_OUTLYING = 5.0

_BRIDGED = {
    "interpolate": "; its displacement is interpolated between its neighbours'",
    "nan": "; it has no displacement",
}


@dataclass(frozen=True, eq=False)
class StackRegistration:
    """The displacements of all frames of a stack, and what to think of each.

    ``aligned(x, y) = frame(x + dx, y + dy)`` lies on the reference. Iterating over it gives a `Registration` for each
    frame.

    Attributes
    ----------
    dx, dy : ndarray of shape (T,)
        In pixels. A frame without success has what lies between its neighbours, or NaN if ``bridge="nan"``.
    covariance : ndarray of shape (T, 2, 2)
        Of (dx, dy), in square pixels; infinite for frames that were bridged.
    ncc : ndarray of shape (T,)
        The correlation of each frame with what it was laid on; NaN where there is none.
    blur : ndarray of shape (T,)
        The variance of the Gaussian that a frame is blurred with more than the template, in square pixels; NaN where
        frames were not compared with one template.
    status : list of str
        "converged", or a reason to bridge the frame: "blank", "not finite", "saturated", "out of focus", "not linked",
        or a status of `Registration` such as "no correlation".
    message : list of str
        The same in a sentence.
    window : int ndarray of shape (T, 4)
        The pixels (top, bottom, left, right) of the reference that were compared.
    shape : (int, int)
        Height and width of a frame.
    options : dict
        How the stack was registered.
    """

    dx: Array
    dy: Array
    covariance: Array = field(repr=False)
    ncc: Array = field(repr=False)
    blur: Array = field(repr=False)
    status: list[str] = field(repr=False)
    message: list[str] = field(repr=False)
    window: NDArray[np.int64] = field(repr=False)
    shape: tuple[int, int]
    options: dict[str, Any]
    _frames: Frames | None = field(default=None, repr=False)

    @property
    def success(self) -> NDArray[np.bool_]:
        """Which frames were registered."""
        return np.array([status == "converged" for status in self.status])

    @property
    def stderr(self) -> Array:
        """The standard errors of (dx, dy), in pixels: shape (T, 2)."""
        return np.sqrt(np.stack([self.covariance[:, 0, 0], self.covariance[:, 1, 1]], axis=1))

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.dx)

    def __iter__(self) -> Iterator[Registration]:
        """Yield the registration of each frame."""
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Registration:
        """Return the registration of one frame."""
        height, width = self.shape
        dx, dy, ncc = float(self.dx[number]), float(self.dy[number]), float(self.ncc[number])
        status = self.status[number]
        overlap = max(0.0, 1 - abs(dx) / width) * max(0.0, 1 - abs(dy) / height) if math.isfinite(dx + dy) else 0.0
        top, bottom, left, right = self.window[number].tolist()
        return Registration(
            dx=dx,
            dy=dy,
            loss=-ncc,
            ncc=ncc,
            covariance=self.covariance[number],
            degrees_of_freedom=math.inf,
            goodness_of_fit=math.nan,
            curvature=np.full((2, 2), np.nan),
            success=status == "converged",
            status=status,
            message=self.message[number],
            overlap=overlap,
            window=(top, bottom, left, right),
            runner_up=None,
            n_steps=0,
            n_evaluations=0,
            n_passes=1,
            trace=np.empty(0, TRACE),
            options={"loss": "ncc", "method": "auto", "features": "intensity"},
        )

    def __str__(self) -> str:
        """Return one line for people."""
        good = self.success
        if not good.any():
            return f"{len(self)} frames, none registered"
        low, high = ((float(d[good].min()), float(d[good].max())) for d in (self.dx, self.dy))
        bad = len(self) - int(good.sum())
        error = float(np.median(self.stderr[good]))
        return (
            f"{len(self)} frames, dx {low[0]:+.2f} to {low[1]:+.2f} px, dy {high[0]:+.2f} to {high[1]:+.2f} px, "
            f"typically +- {error:.3f} px; {bad} bridged"
        )

    def apply(self, frames: Any = None, *, boundary: str = "zero") -> Iterator[NDArray[Any]]:
        """Lay frames on the reference, one after the other.

        Parameters
        ----------
        frames : optional
            As many as were registered, in any form that `register_stack` takes, such as another channel; those that
            were registered unless given.
        boundary : {"zero", "edge", "wrap"}
            What lies outside a frame, see `shift`.

        Yields
        ------
        ndarray
            Of the shape and dtype of the frame. A frame without a displacement (``bridge="nan"``) is all zeros.

        Raises
        ------
        InputError
            If there are more or fewer frames, of another size, or none left because an iterator has been used up.
        """
        if frames is None and (self._frames is None or self._frames.once):
            raise InputError("frames is not given, and those that were registered are gone; give them again")
        source = frames_of(self._frames if frames is None else frames)
        count = -1
        for count, frame in enumerate(source):
            if count >= len(self):
                raise InputError(f"there are more than the {len(self)} frames that were registered; give as many")
            yield self._laid(frame, count, boundary, source.colour_last)
        if count + 1 < len(self):
            raise InputError(f"there are {count + 1} frames, but {len(self)} were registered; give as many")

    def _laid(self, frame: NDArray[Any], number: int, boundary: str, colour_last: bool) -> NDArray[Any]:
        """Lay one frame, and each of its channels, on the reference."""
        height_width = frame.shape[:2] if colour_last else frame.shape[-2:]
        if height_width != self.shape:
            raise InputError(f"frame {number} has shape {frame.shape}, but those registered were {self.shape}")
        dx, dy = float(self.dx[number]), float(self.dy[number])
        if not math.isfinite(dx + dy):
            return np.zeros_like(frame)
        if frame.ndim == 2 or colour_last:
            return shift(frame, dx, dy, boundary=boundary)
        return np.stack([shift(channel, dx, dy, boundary=boundary) for channel in frame])

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each frame: its number, displacement, standard errors, correlation, blur and status."""
        columns = (*self._numbers().values(), self.success.tolist(), self.status)
        return [dict(zip(COLUMNS, (n, *row), strict=True)) for n, row in enumerate(zip(*columns, strict=True))]

    def _numbers(self) -> dict[str, list[float]]:
        """Return the columns of floats."""
        sx, sy = self.stderr.T
        arrays = (self.dx, self.dy, sx, sy, self.ncc, self.blur)
        return {name: array.tolist() for name, array in zip(COLUMNS[1:7], arrays, strict=True)}

    def to_csv(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the table: a line of names, then a line for each frame, in full precision.

        Parameters
        ----------
        path : str or path
        overwrite : bool
            Replace a file that is already there; otherwise it is refused.
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.table())
        with replace_file(path, overwrite=overwrite) as file:
            file.write(text.getvalue().encode())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings and lists; what is not finite is None."""
        numbers = {name: [_plain(v) for v in values] for name, values in self._numbers().items()}
        xy = [_plain(v) for v in self.covariance[:, 0, 1].tolist()]
        return {
            "format": FORMAT,
            "version": __version__,
            "convention": CONVENTION,
            "shape": list(self.shape),
            "options": self.options,
            "frames": {
                **numbers,
                "covariance_dx_dy": xy,
                "success": self.success.tolist(),
                "status": list(self.status),
                "message": list(self.message),
                "window": self.window.tolist(),
            },
        }

    def to_json(self, path: str | os.PathLike[str] | None = None, *, overwrite: bool = False) -> str:
        """Return `to_dict` as JSON, and write it to a file if a path is given."""
        text = json.dumps(self.to_dict(), allow_nan=False)
        if path is not None:
            with replace_file(path, overwrite=overwrite) as file:
                file.write(text.encode())
        return text

    @classmethod
    def from_json(cls, text: str) -> StackRegistration:
        """Rebuild a result from its JSON; `apply` then needs to be given the frames."""
        try:
            data = json.loads(text)
            if data["format"] != FORMAT or data["convention"] != CONVENTION:
                raise InputError(f"the JSON has format {data['format']!r}; give one of format {FORMAT!r}")
            rows = data["frames"]
            dx, dy, sx, sy, ncc, blur = (_floats(rows[name]) for name in COLUMNS[1:7])
            covariance = np.empty((len(dx), 2, 2))
            covariance[:, 0, 0], covariance[:, 1, 1] = (np.where(np.isnan(s), np.inf, s) ** 2 for s in (sx, sy))
            xy = _floats(rows["covariance_dx_dy"])
            covariance[:, 0, 1] = covariance[:, 1, 0] = np.where(np.isnan(xy), np.inf, xy)
            height, width = data["shape"]
            window = np.array(rows["window"], np.int64).reshape(len(dx), 4)
            words = [str(s) for s in rows["status"]], [str(s) for s in rows["message"]]
            if len({len(column) for column in (dx, dy, ncc, blur, *words)}) != 1:
                raise InputError("the columns of the JSON differ in length; give the text that to_json returned")
            return cls(dx, dy, covariance, ncc, blur, *words, window, (int(height), int(width)), dict(data["options"]))
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("this is not the JSON of a stack; give the text that to_json returned") from error

    @classmethod
    def from_csv(cls, text: str, shape: tuple[int, int]) -> StackRegistration:
        """Rebuild a result from its table, which says nothing of the size of the frames.

        What a table does not hold, how the errors of dx and dy go together, is taken to be nothing.
        """
        try:
            rows = list(csv.DictReader(io.StringIO(text), strict=True))
            if not rows or set(COLUMNS) - set(rows[0]):
                raise InputError(
                    f"the table lacks the columns {', '.join(COLUMNS)}; give the file that to_csv has written"
                )
            columns = {name: np.array([float(row[name]) for row in rows]) for name in COLUMNS[1:7]}
            status = [str(row["status"]) for row in rows]
            if [int(row["frame"]) for row in rows] != list(range(len(rows))):
                raise InputError("the rows of the table are not those of frames 0, 1, 2 ...; give the file as it was")
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("this is not the table of a stack; give the file that to_csv has written") from error
        covariance = np.zeros((len(rows), 2, 2))
        covariance[:, 0, 0], covariance[:, 1, 1] = columns["stderr_dx"] ** 2, columns["stderr_dy"] ** 2
        window = np.tile(np.array([0, shape[0], 0, shape[1]]), (len(rows), 1))
        dx, dy, ncc, blur = (columns[name] for name in ("dx", "dy", "ncc", "blur"))
        return cls(dx, dy, covariance, ncc, blur, status, list(status), window, shape, {"to": "table"})

    def plot(self, ax: Any = None) -> Any:
        """Draw the drift over the frames, see `alignment.plots.drift`."""
        from .plots import drift

        return drift(ax, self)


def register_stack(
    frames: Any,
    *,
    to: str | int | ArrayLike = "first",
    channel: int | None = None,
    max_shift: float | tuple[float, float] | None = None,
    lags: tuple[int, ...] = (1,),
    passes: int = 2,
    max_blur: float | None = 1.0,
    bridge: Literal["interpolate", "nan"] = "interpolate",
    border: float = 0.1,
    callback: Callable[[int, int | None], object] | None = None,
) -> StackRegistration:
    r"""Find the displacement of every frame of a stack.

    Parameters
    ----------
    frames : array_like, list, iterator, str or path
        An array of shape (T, H, W) or (T, C, H, W), in memory, on disk or of dask; a list or an iterator of images; a
        TIFF of several pages, a folder of images, a pattern such as ``"t*.tif"``, or a list of files. They are read
        one after the other, and never held together.
    to : {"first", "previous", "mean"}, int or array_like of shape (H, W)
        What frames are laid on: the first good one; each on the good one before; the mean of frames laid on one
        another, refreshed in a few passes; the one with this number (negative: from the end); or this image.
    channel : int, optional
        The channel to estimate from; the mean of all unless given.
    max_shift : float or (float, float), optional
        Largest abs(dx), abs(dy) against what a frame is laid on, in pixels; half the frame unless given.
    lags : tuple of int
        For "previous": how many good frames back the partners of each frame lie. With more than one, such as
        (1, 2, 4), the path follows from all pairs by robust weighted least squares.
    passes : int
        For "mean": how often the mean is made anew.
    max_blur : float, optional
        A frame that is blurred by a Gaussian wider than this, in pixels, against the middle one is out of focus; None
        for never. It needs frames that are compared with one image, so that "previous" cannot tell.
    bridge : {"interpolate", "nan"}
        What a frame that is not converged gets: what lies between the good ones around it, or no displacement.
    border : float
        The share of each side of the frame to leave out, below 0.4.
    callback : callable, optional
        Called as ``callback(done, total)`` with the number of frames looked at; the total is None where it is not
        known.

    Returns
    -------
    StackRegistration

    Raises
    ------
    InputError
        If an argument is not as described, or frames differ in shape. A frame that cannot be registered is a status.

    Notes
    -----
    *Error bars.* Against one template they come from how the gradient scatters over strips of the window, pooled over
    frames and scaled by the residual of each. They say how well a frame is known against the template, whose own place
    is exact by definition; for "mean" that is where the first good frame of the sample was, to within its own error.
    In a chain, the covariances of its links are added up: :math:`C_n = \sum_{i < n} C_{i, i+1}`. Two links share the
    noise of the frame between them, with opposite signs, so that this is an upper bound for an ideal chain; what adds
    up in truth are the errors of interpolation and what changes in the scene.

    *The mean* is taken over up to 64 frames, evenly spread, of those that were found and fit as well as the others.

    Examples
    --------
    >>> y, x = np.mgrid[0:120, 0:140].astype(float)
    >>> def scene(x, y):
    ...     return np.sin(x / 5) * np.cos(y / 7) + np.sin((x + 2 * y) / 11) + np.exp(-((x - 60)**2 + (y - 50)**2) / 90)
    >>> stack = np.array([scene(x - 0.25 * n, y + 0.5 * n) for n in range(5)])
    >>> stack[2] = 0  # the shutter was closed
    >>> result = register_stack(stack)
    >>> result.dx.round(2).tolist(), result.status[2]
    ([0.0, 0.25, 0.5, 0.75, 1.0], 'blank')
    """
    source = frames_of(frames)
    plan = planned(
        channel=channel,
        max_shift=max_shift,
        lags=lags,
        passes=passes,
        max_blur=max_blur,
        bridge=bridge,
        border=border,
        callback=callback,
    )
    if isinstance(to, str) and _checks.one_of("to", to, TO) == "previous":
        ledger = follow(source, plan)
    else:
        source, frames, template, known = aim(source, to, plan)
        ledger = track(frames, source, template, known, plan)
    return concluded(ledger, source, to, plan)


def silent(done: int, total: int | None) -> None:
    """Say nothing of how far the work is."""


def planned(
    *,
    channel: int | None = None,
    max_shift: float | tuple[float, float] | None = None,
    lags: Sequence[int] = (1,),
    passes: int = 2,
    max_blur: float | None = 1.0,
    bridge: str = "interpolate",
    border: float = 0.1,
    callback: Callable[[int, int | None], object] | None = None,
) -> Plan:
    """Check the options of `register_stack`, and return what is asked for.

    Raises
    ------
    InputError
        If an option is not as described there.
    """
    if not isinstance(lags, tuple | list):
        raise InputError(f"lags is {_checks.in_words(lags)}; give a tuple of whole numbers, such as (1, 2, 4)")
    lags = tuple(_checks.whole_number("lags", lag, at_least=1) for lag in lags)
    if not lags:
        raise InputError("lags is empty; give at least one, such as (1,)")
    return Plan(
        channel=None if channel is None else _checks.whole_number("channel", channel),
        max_shift=_pair_or_number(max_shift),
        lags=tuple(sorted(set(lags))),
        passes=_checks.whole_number("passes", passes, at_least=1),
        max_blur=None if max_blur is None else _checks.number_between("max_blur", max_blur, 1e-3, 1e3),
        bridge=_checks.one_of("bridge", bridge, BRIDGES),
        border=_checks.number_between("border", border, 0, 0.4),
        callback=_checks.callback("callback", callback) or silent,
    )


def concluded(ledger: Ledger, source: Frames, to: str | int | ArrayLike, plan: Plan) -> StackRegistration:
    """Put the result together from what was written down of all frames, and bridge those that were not found."""
    options = {
        "to": to if isinstance(to, str | int) else "array", "channel": plan.channel,
        "max_shift": _listed(plan.max_shift), "lags": list(plan.lags), "passes": plan.passes,
        "max_blur": plan.max_blur, "bridge": plan.bridge, "border": plan.border,
    }  # fmt: skip
    return _bridged(_result(ledger, source, options, plan.max_blur), plan.bridge)


def _result(ledger: Ledger, source: Frames, options: dict[str, Any], max_blur: float | None) -> StackRegistration:
    """Put the result together from what was written down."""
    covariance = ledger.judge(max_blur)
    return StackRegistration(
        dx=np.array([place[0] for place in ledger.places]),
        dy=np.array([place[1] for place in ledger.places]),
        covariance=covariance,
        ncc=np.array(ledger.ncc),
        blur=np.array(ledger.blur),
        status=ledger.status,
        message=ledger.message,
        window=np.array(ledger.windows, np.int64).reshape(-1, 4),
        shape=ledger.shape,
        options=options,
        _frames=source,
    )


def _bridged(result: StackRegistration, bridge: str) -> StackRegistration:
    """Give frames that were not found what lies between the others."""
    good = result.success
    bad = ~good
    dx, dy, covariance = result.dx.copy(), result.dy.copy(), result.covariance.copy()
    dx[bad] = dy[bad] = math.nan
    covariance[bad] = unknown()
    number = np.arange(len(good))
    if bridge == "interpolate" and good.any():
        dx[bad], dy[bad] = (np.interp(number[bad], number[good], d[good]) for d in (dx, dy))
    note = _BRIDGED[bridge if good.any() else "nan"]
    message = [text + ("" if ok else note) for text, ok in zip(result.message, good.tolist(), strict=True)]
    return replace(result, dx=dx, dy=dy, covariance=covariance, message=message)


# one template


def aim(
    source: Frames, to: str | int | ArrayLike, plan: Plan
) -> tuple[Frames, Iterable[NDArray[Any]], Template, int | None]:
    """Make the image that all frames are laid on.

    Returns
    -------
    source : Frames
        Those given, or a copy that can be gone through again.
    frames : iterable
        All frames, also those that were read for the image.
    template : Template
    known : int or None
        The number of the frame that lies where it lies, if it is one of them.
    """
    if isinstance(to, str) and to == "mean":
        source = source.repeatable()
        return source, source, _mean(source, plan), None
    if isinstance(to, str):
        rest = iter(source)
        head = list(itertools.islice(rest, HEAD))
        known = first_good([source.grey(frame, plan.channel) for frame in head])
        template = _template(source.grey(head[known], plan.channel), plan)
        return source, rejoined(head, rest), template, known
    if isinstance(to, int | np.integer) and not isinstance(to, bool):
        source = source.repeatable()
        known = index_of(int(to), source.count or 0)
        return source, source, _template(source.grey(next(source.pick([known])), plan.channel), plan), known
    return source, source, _template(to, plan), None


def track(
    frames: Iterable[NDArray[Any]], source: Frames, template: Template, known: int | None, plan: Plan, begin: int = 0
) -> Ledger:
    """Lay frames on one image, the first of them being that of number `begin`."""
    tracker = Tracker(template, max_shift=plan.max_shift)
    ledger = Ledger()
    for number, frame in enumerate(frames, begin):
        grey = source.grey(frame, plan.channel)
        if grey.shape != template.image.shape:
            raise InputError(
                f"to has shape {template.image.shape} but the frames have {grey.shape}; give an image of their shape"
            )
        found = tracker.find(grey)
        if number == known and found.look is not None:  # itself, which lies where it lies
            found = found._replace(look=found.look._replace(dx=0.0, dy=0.0))
        ledger.add(grey, found, np.zeros((2, 2)) if number == known and found.success else None)
        plan.callback(number + 1, source.count)
    return ledger


def _template(grey: ArrayLike, plan: Plan) -> Template:
    """Make a template of one frame."""
    image, mask = _checks.image("to", grey)
    reason = unfit(image if mask is None else np.where(mask != 0, image, image.dtype.type(np.nan)))
    if reason is not None:
        raise InputError(f"the reference is no use: {FAILURES[reason]}; give another with to=")
    return Template(levelled(image, mask), mask, border=plan.border)


def _mean(source: Frames, plan: Plan) -> Template:
    """Return the mean of a sample of frames, made anew from pass to pass."""
    count = source.count or 0
    numbers = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).round().astype(int)).tolist()

    def greys() -> Iterator[NDArray[Any]]:
        return (source.grey(frame, plan.channel) for frame in source.pick(numbers))

    head = list(itertools.islice(greys(), HEAD))
    if not head:
        raise InputError("there is not a single frame; give some")
    template = _template(head[first_good(head)], plan)
    for _ in range(plan.passes):
        tracker = Tracker(template, max_shift=plan.max_shift)
        found = [tracker.find(grey) for grey in greys()]
        fits = np.array([f.ncc if f.success else np.nan for f in found])
        middle = np.nanmedian(fits) if np.isfinite(fits).any() else np.nan
        scatter = 1.4826 * np.nanmedian(np.abs(fits - middle)) if np.isfinite(middle) else 0.0
        use = fits >= middle - _OUTLYING * scatter - 1e-9
        if use.sum() < 2:
            break
        template = average(
            greys(), [f.place if ok else None for f, ok in zip(found, use.tolist(), strict=True)], plan.border
        )
    return template


# small things


def _pair_or_number(value: float | tuple[float, float] | None) -> float | tuple[float, float] | None:
    """Check max_shift."""
    if value is None:
        return None
    if isinstance(value, int | float | np.integer | np.floating):
        return _checks.positive_number("max_shift", value)
    x, y = _checks.pair_of_numbers("max_shift", value)
    return _checks.positive_number("max_shift", x), _checks.positive_number("max_shift", y)


def _listed(value: Any) -> Any:
    """Return a tuple as a list, as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _plain(value: float) -> float | None:
    """Return a number that JSON can hold: None for what is not finite."""
    return value if math.isfinite(value) else None


def _floats(values: list[float | None]) -> Array:
    """Return a column of JSON as numbers: NaN for None."""
    return np.array([math.nan if value is None else value for value in values], np.float64)
