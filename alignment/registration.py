r"""The act: find the displacement that lays a moving image on a reference, and say how far to trust it.

From coarse to fine: at the coarsest level of a pyramid a search looks at every integer displacement; the best few are
followed to the finest level, on each by exact descent from cell to cell. Both images are smoothed a little, which
leaves one minimum where raw bilinear interpolation has several, and the loss is taken over a window that stays inside
both frames, because the frame of a scan does not move with its content.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import Image, InputError, Mask
from .bandwidth import Choice, choose
from .bilinear import shift, theta
from .defects import living
from .descent import Adam, GradientDescent, Newton, Rule, minimise
from .gaussian import REACH, Gaussian
from .losses import MSE, NCC, Noise, Objective, Window, noise_of
from .pyramid import Masked, band_pass, build, count_levels, edges, halve
from .pyramid import smooth as smoothed
from .refinement import Refinement, refine
from .rivals import Votes, vote
from .search import Candidate, LagSurface, all_lags, minima, phase_peak, walk
from .uncertainty import Conditioning, Ellipse, Spread, blocks_of, conditioning, ellipse, sandwich
from .verdict import (
    DISTINCT_GAP,
    HEARD,
    MARKED,
    PRECISE,
    SETTLED,
    SIGNIFICANT,
    SURE,
    VAGUE_SHARE,
    Evidence,
    contested,
    verdict,
)

T = TypeVar("T")

LOSSES: dict[str, type[Objective]] = {"ncc": NCC, "mse": MSE}
METHODS = ("auto", "gradient-descent", "adam", "newton", "exhaustive")
SEARCHES = ("auto", "exhaustive")
FEATURES = ("auto", "intensity", "fine", "edges")
TRACE = np.dtype([
    ("level", np.int64), ("step", np.int64), ("dx", np.float64), ("dy", np.float64),
    ("loss", np.float64), ("grad_dx", np.float64), ("grad_dy", np.float64),
])  # fmt: skip

# pixels along the short side of the coarsest level: enough structure to be recognised, few enough to search at once
_COARSEST = 64
# the share of each side that the frame of a scan may take
_FRAME = 0.1
# of grey levels as sharp as the pixel grid carries without the blur depending on the fraction; of edges, which are
# sharper than the image they come from, a little wider
_KERNELS = {"intensity": Gaussian(0.8), "fine": Gaussian(0.8), "edges": Gaussian(1.0)}
# pixels from the border that the filters of the features make up: the frame's last pixels stand for those outside it
_REACHES = {"intensity": 0, "fine": 4, "edges": 5}
# pixels: the width of the mean that a search measures structure from, and that fine structure is measured from
_COARSE_TONES = 3.0
_MIDDLE_TONES = 1.0
# candidates that stand out by this share of the best one, whose exact minima are compared
_RIVAL = 0.85
# the correlation of the edges from which on a level is fine enough, and how many levels to try
_SHARED = 0.55
_LEVELS_TRIED = 3
# a phase correlation is taken of the finest level that is not larger than this along its short side; it counts if its
# peak is as high over the scatter, the next one as low, and the correlation of a runner-up elsewhere not as good:
# then the texture repeats itself
_PHASED = 640
_PHASE_SIGNIFICANT = 30.0
_PHASE_DISTINCT = 0.4
_REPEATING = 0.7
_REPEATING_ITSELF = 0.85
# the tiles vote on the finest level that is not larger than this along its short side
_VOTING = 400
# a correlation of images that are the same
_SAME = 0.99
# pixels from which on a thread is worth its start
_WORTH_THREADS = 1 << 20
# how much smaller a coarser level's standard error must be to be preferred
_MARKEDLY = 0.8
# blurred intensities that correlate less than this are not one scene in one light: their edges say more
_ALIKE = 0.96


@dataclass(frozen=True)
class Registration:
    """A displacement, and what to think of it.

    ``aligned(x, y) = moving(x + dx, y + dy)`` lies on the reference: positive dx says that the content of the moving
    image lies dx pixels to the right of the reference's.

    Attributes
    ----------
    dx, dy : float
        In pixels.
    loss : float
        The value of the minimised objective there.
    ncc : float
        The correlation of the two images there, in [-1, 1], over the window that was compared.
    covariance : ndarray of shape (2, 2)
        Of (dx, dy), in square pixels. It assumes that noise is independent from pixel to pixel and that the content is
        displaced as a whole; where the goodness of fit speaks against it, it is widened to what the image itself shows.
    degrees_of_freedom : float
        Of the covariance: infinite if it follows from a model of the noise, few if it is the scatter between blocks.
    goodness_of_fit : float
        How widely the gradient scatters from block to block, squared, over what independent noise would give: about 1
        if the images differ by noise alone, more if something moved or looks different; nan where not known.
    curvature : ndarray of shape (2, 2)
        Second derivatives of the negative correlation, per square pixel; see `conditioning`.
    success : bool
        Whether the displacement can be trusted: the status is "converged".
    status : str
        "converged", "not converged", "local minimum", "at bound", "ambiguous", "flat", "low overlap" or
        "no correlation".
    message : str
        The status in a sentence, with what to try.
    overlap : float
        The share of the frame that both images cover, in [0, 1].
    window : (top, bottom, left, right)
        The pixels of the reference that were compared at the finest level.
    runner_up : tuple (dx, dy, loss) or None
        The next best distinct displacement that the search found, at its coarse resolution.
    n_steps, n_evaluations, n_passes : int
        Steps taken, losses asked for, times that the two images (or coarse versions) were read.
    trace : structured ndarray
        level (0 is the finest), step, dx, dy in pixels of the finest level, loss, its gradient per pixel of the level.
    """

    dx: float
    dy: float
    loss: float
    ncc: float
    covariance: NDArray[np.float64]
    degrees_of_freedom: float
    goodness_of_fit: float
    curvature: NDArray[np.float64]
    success: bool
    status: str
    message: str
    overlap: float
    window: Window
    runner_up: tuple[float, float, float] | None
    n_steps: int
    n_evaluations: int
    n_passes: int
    trace: NDArray[Any] = field(repr=False)
    options: dict[str, Any] = field(repr=False)

    @property
    def shift_rc(self) -> tuple[float, float]:
        """The move to apply to the moving image, in (row, column) order, as SciPy and scikit-image speak of it."""
        return -self.dy, -self.dx

    @property
    def theta(self) -> NDArray[np.float64]:
        """The 2 x 3 matrix that maps a target point (x, y, 1) to the source point to read."""
        return theta(self.dx, self.dy)

    @property
    def stderr(self) -> tuple[float, float]:
        """The standard errors of dx and dy, in pixels."""
        return float(np.sqrt(self.covariance[0, 0])), float(np.sqrt(self.covariance[1, 1]))

    @property
    def conditioning(self) -> Conditioning:
        """The smallest curvature of the loss over the largest, and the direction of the smallest, in degrees."""
        return conditioning(self.curvature)

    def confidence_ellipse(self, level: float = 0.95) -> Ellipse:
        """Return the region around (dx, dy) that holds the truth with a probability.

        Parameters
        ----------
        level : float
            The probability, between 0 and 1.

        Returns
        -------
        Ellipse
            With center, semi_axes and angle; infinite where the covariance is.

        Raises
        ------
        InputError
            If the level is not between 0 and 1.
        """
        checked = _checks.number_between("level", level, 1e-9, 1 - 1e-9)
        return ellipse((self.dx, self.dy), self.covariance, checked, self.degrees_of_freedom)

    def apply(self, image: ArrayLike, *, boundary: str = "zero") -> NDArray[Any]:
        """Lay an image of the moving frame on the reference: its shape and dtype stay as they are."""
        return shift(image, self.dx, self.dy, boundary=boundary)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the trace as plain numbers, strings and lists."""
        return {
            "convention": "aligned(x, y) = moving(x + dx, y + dy), in pixels",
            "dx": self.dx,
            "dy": self.dy,
            "shift_rc": list(self.shift_rc),
            "theta": self.theta.tolist(),
            "loss": _plain(self.loss),
            "ncc": _plain(self.ncc),
            "covariance": [[_plain(v) for v in row] for row in self.covariance],
            "stderr": [_plain(v) for v in self.stderr],
            "degrees_of_freedom": _plain(self.degrees_of_freedom),
            "goodness_of_fit": _plain(self.goodness_of_fit),
            "curvature": [[_plain(v) for v in row] for row in self.curvature],
            "conditioning": self.conditioning._asdict(),
            "success": self.success,
            "status": self.status,
            "message": self.message,
            "overlap": self.overlap,
            "window": list(self.window),
            "runner_up": None if self.runner_up is None else list(self.runner_up),
            "n_steps": self.n_steps,
            "n_evaluations": self.n_evaluations,
            "n_passes": self.n_passes,
            "options": self.options,
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Registration:
        """Rebuild a result from its JSON; the trace, which is not stored, comes back empty."""
        try:
            data = json.loads(text)
            derived = ("convention", "shift_rc", "theta", "stderr", "conditioning")
            values = {name: data[name] for name in data if name not in derived}
            covariance, curvature = (
                np.array([[other if v is None else v for v in row] for row in values.pop(name)])
                for name, other in (("covariance", math.inf), ("curvature", math.nan))
            )
            runner_up = values.pop("runner_up")
            others = {"loss": math.nan, "ncc": math.nan, "goodness_of_fit": math.nan, "degrees_of_freedom": math.inf}
            values.update({name: other for name, other in others.items() if values[name] is None})
            return cls(
                **{**values, "window": tuple(values["window"])},
                covariance=covariance,
                curvature=curvature,
                runner_up=None if runner_up is None else tuple(runner_up),
                trace=np.empty(0, TRACE),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError("this is not the JSON of a Registration; give the text that to_json returned") from error

    def __str__(self) -> str:
        """Return one line for people."""
        sx, sy = self.stderr
        return f"dx = {self.dx:+.3f} +- {sx:.3f} px, dy = {self.dy:+.3f} +- {sy:.3f} px, {self.message}"


class _Pair(NamedTuple):
    """One level of both pyramids."""

    reference: Masked
    moving: Masked


class _End(NamedTuple):
    """Where the last steps led, and at which level."""

    found: Refinement
    level: int

    @property
    def arrived(self) -> bool:
        """Whether the last of them was too short to matter."""
        return self.found.arrived


@dataclass(frozen=True)
class _Options:
    kernel: Gaussian | str | None
    loss: str
    method: str
    features: str
    max_shift: tuple[float, float]
    init: tuple[float, float]
    smooth: float
    noise: float | tuple[float, float] | str | None
    border: float | None
    min_overlap: float
    threads: int
    callback: Callable[[int, int, float, float, float], object] | None


@dataclass
class _Journey:
    """Where a registration stands: the displacement in pixels of the current level, and the record of the way."""

    dx: float
    dy: float
    arrived: bool = True
    rows: list[tuple[float, ...]] = field(default_factory=list)
    evaluations: int = 0
    passes: int = 0
    score: float = math.inf
    correlation: float = -math.inf
    runner_up: tuple[float, float, float] | None = None
    ambiguity: float = 0.0
    witness: tuple[float, float] = (0.0, 0.0)
    grain: float = math.inf

    @property
    def strayed(self) -> bool:
        """Whether a descent ended elsewhere than where a search, which it did not follow, sees the best fit."""
        return max(abs(self.dx - self.witness[0]), abs(self.dy - self.witness[1])) > self.grain

    @property
    def gap(self) -> float:
        """By how much the best displacement stands out from the runner-up."""
        return self.score * (1 - self.ambiguity)


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
        other, and a phase correlation, if that does not converge; the methods that descend from `init` take it for
        "intensity".
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
    shape = pair.reference.image.shape
    options = _Options(
        loss=_checks.one_of("loss", loss, tuple(LOSSES)),
        method=_checks.one_of("method", method, METHODS),
        features=_checks.one_of("features", features, FEATURES),
        max_shift=_reach(max_shift, shape),
        init=_checks.pair_of_numbers("init", init),
        smooth=_checks.number_between("smooth", smooth, 0, 10),
        kernel=kernel if kernel is None or isinstance(kernel, Gaussian) else _checks.one_of("kernel", kernel, ("hat",)),
        noise=noise,
        border=None if border is None else _checks.number_between("border", border, 0, 0.4),
        min_overlap=_checks.number_between("min_overlap", min_overlap, 0.01, 1),
        threads=_checks.whole_number("threads", threads, at_least=1),
        callback=_checks.callback("callback", callback),
    )
    if noise is not None and kernel != "hat":
        raise InputError("noise is for kernel='hat'; leave it out, other kernels tell the noise from the residual")
    count = count_levels(shape, smallest=_COARSEST)
    pyramids = _each(lambda image: build(*image, count), pair, options)
    levels = [_Pair(*level) for level in zip(*pyramids, strict=True)]
    if options.features == "auto" and method in SEARCHES:
        return _choose(levels, options)
    plain = replace(options, features="intensity" if options.features == "auto" else options.features)
    return _asked_of_tiles(levels, _attempt(levels, plain), options)


def _choose(levels: list[_Pair], options: _Options) -> Registration:
    """Return the first attempt that converges; one after the first has to be well determined as well."""
    first: Registration | None = None
    plain: Registration | None = None  # of the grey levels
    for attempt in _attempts(levels, options):
        plain = attempt if attempt.options["features"] == "intensity" else plain
        found = _asked_of_tiles(levels, attempt, options)
        if found.success and (first is None or _sure(found)):
            if found.options["features"] == "intensity":
                return found
            plain = plain or _attempt(levels, replace(options, features="intensity"))
            return _unless_the_same(found, plain)
        first = first or found
    assert first is not None
    return first


def _unless_the_same(found: Registration, plain: Registration) -> Registration:
    """Return a result, unless the grey levels fit exactly and do not tell: then a part of what they show tells no more.

    The edges of stripes, as the grid of pixels sees them, may differ along the stripes.
    """
    return plain if plain.ncc >= _SAME and plain.status in ("flat", "ambiguous") else found


def _asked_of_tiles(levels: list[_Pair], found: Registration, options: _Options) -> Registration:
    """Return a result, its status changed if the parts of the frame speak against it."""
    if not found.success:
        return found
    compared = "edges" if found.options["features"] == "edges" else "intensity"
    votes, scale = _asked_in(levels, found, replace(options, features=compared))
    doubt = None if votes is None else contested(votes, scale)
    if doubt is None and votes is not None and votes.agreeing < 1 and compared == "edges":
        # grey levels that differ may agree with nothing, but what moved in them moved
        votes, scale = _asked_in(levels, found, replace(options, features="intensity"))
        if votes is not None and votes.middle > 0:
            doubt = contested(votes._replace(middle=math.inf, better=-math.inf), scale)
    return found if doubt is None else replace(found, success=False, status=doubt[0], message=doubt[1])


def _asked_in(levels: list[_Pair], found: Registration, options: _Options) -> tuple[Votes | None, int]:
    """Return how the tiles of the finest level vote on which noise leaves them something to say, and its scale."""
    votes, scale = None, 1
    for level, pair in enumerate(levels):
        if min(pair.reference.image.shape) > _VOTING and level < len(levels) - 1:
            continue
        here = _votes(pair, found, 2**level, options)
        if here is None or (votes is not None and here.middle < votes.middle):
            break
        votes, scale = here, 2**level
        if contested(votes) is None or votes.agreeing >= HEARD or votes.better > MARKED:
            break
    return votes, scale


def _votes(pair: _Pair, found: Registration, scale: int, options: _Options) -> Votes | None:
    """Let the tiles of one level vote on a displacement."""
    reference, moving = (band_pass(image, _COARSE_TONES) for image in _seen(pair, options))
    height, width = pair.reference.image.shape
    (cx, cy), (mx, my) = options.init, options.max_shift
    return vote(
        reference,
        moving,
        (found.dx / scale, found.dy / scale),
        margin=(round(_FRAME * height), round(_FRAME * width)),
        within=(((cx - mx) / scale, (cy - my) / scale), ((cx + mx) / scale, (cy + my) / scale)),
        settled=SETTLED,
    )


def _sure(found: Registration) -> bool:
    """Say whether a result is determined well enough to make up for what spoke against it."""
    top, bottom, left, right = found.window
    return max(found.stderr) <= SURE + VAGUE_SHARE * min(bottom - top, right - left)


def _attempts(levels: list[_Pair], options: _Options) -> Iterator[Registration]:
    """Compare what the two images may share: their intensities, their fine structure or their edges.

    Intensities, if they are alike; else, where phases agree, the fine structure there; else what stands out more.
    """
    last = 0 if options.method == "exhaustive" else len(levels) - 1
    plain, sharp = replace(options, features="intensity"), replace(options, features="edges")
    try:
        begin = _search(levels, last, plain)
    except _checks.UndefinedLossError as error:
        yield _nothing_to_compare(levels[0].reference.image.shape, str(error), plain)
        return
    alike = _alike(levels[last], begin)
    intensities = _later(levels, plain, (last, begin)) if begin.gap >= DISTINCT_GAP else None
    if alike and intensities is not None:
        yield intensities()
        yield _attempt(levels, sharp)
    else:
        # noise hides likeness; what differs by nothing else is alike nevertheless
        if intensities is not None and intensities().success and _differs_by_noise(intensities()):
            yield intensities()
        yield from _by_phase(levels, replace(options, features="fine"), begin)
        intensities = intensities or _later(levels, plain, (last, begin))
        edgewise = _searched(levels, last, sharp)
        edges_found = _later(levels, sharp, None if edgewise is None else (last, edgewise))
        enough = max(DISTINCT_GAP, begin.gap) if alike else min(DISTINCT_GAP, begin.gap)
        first_edges = edgewise is not None and edgewise.gap >= enough
        for attempt in (edges_found, intensities) if first_edges else (intensities, edges_found):
            yield attempt()
    for features in ("fine", "edges"):
        yield from _by_phase(levels, replace(options, features=features), begin)


def _later(levels: list[_Pair], options: _Options, begin: tuple[int, _Journey] | None) -> Callable[[], Registration]:
    """Return a function that makes an attempt when first called, and gives the same result from then on."""
    return functools.cache(
        lambda: _attempt(levels, options, None if begin is None else (begin[0], replace(begin[1], rows=[])))
    )


def _differs_by_noise(found: Registration) -> bool:
    """Say whether the two images differ by nothing but independent noise."""
    return math.isfinite(found.goodness_of_fit) and math.isinf(found.degrees_of_freedom)


def _searched(levels: list[_Pair], level: int, options: _Options) -> _Journey | None:
    """Return what a search sees; None where there is nothing to compare."""
    try:
        return _search(levels, level, options)
    except _checks.UndefinedLossError:
        return None


def _by_phase(levels: list[_Pair], options: _Options, seen: _Journey) -> Iterator[Registration]:
    """Yield where a phase correlation leads, if it stands out and a descent confirms it."""
    level = next((n for n, pair in enumerate(levels) if min(pair.reference.image.shape) <= _PHASED), len(levels) - 1)
    # images that agree and yet do not tell where have too few frequencies for phases to tell
    repeats = seen.correlation > _REPEATING_ITSELF or (seen.runner_up is not None and seen.runner_up[2] < -_REPEATING)
    if repeats:
        return
    peak = phase_peak(*(image.image for image in _cropped(levels[level])))
    asked = all(
        abs(2**level * d - start) <= most
        for d, start, most in zip((peak.dx, peak.dy), options.init, options.max_shift, strict=True)
    )
    if peak.score < _PHASE_SIGNIFICANT or peak.ambiguity > _PHASE_DISTINCT or not asked:
        return
    score = SIGNIFICANT * peak.score / _PHASE_SIGNIFICANT
    start = _Journey(peak.dx, peak.dy, score=score, ambiguity=peak.ambiguity, passes=1)
    found = _attempt(levels, options, (level, start))
    # what ends elsewhere followed something that the phases do not see
    near = max(abs(found.dx - 2**level * peak.dx), abs(found.dy - 2**level * peak.dy)) <= 2**level
    if found.success and near and _sure(found):
        yield found


def _attempt(levels: list[_Pair], options: _Options, begin: tuple[int, _Journey] | None = None) -> Registration:
    """Return where a descent leads, or why there is none."""
    try:
        return _descend(levels, options, begin)
    except _checks.UndefinedLossError as error:
        return _nothing_to_compare(levels[0].reference.image.shape, str(error), options)


def _descend(levels: list[_Pair], options: _Options, begin: tuple[int, _Journey] | None) -> Registration:
    """Start, where not told to begin on a level, descend level by level, and judge where that led."""
    if begin is not None:
        first, journey = begin
    else:
        first = 0 if options.method == "exhaustive" else len(levels) - 1
        journey = _start(levels, first, options)
    seen: list[_Pair] = []
    for level in range(first, -1, -1):
        if level < first:
            journey.dx, journey.dy = 2 * journey.dx, 2 * journey.dy
        seen = [*seen, _featured(levels[level], options)][-_LEVELS_TRIED:]
        if level == 0 < first and options.method == "auto" and options.kernel != "hat":
            # the level above has come so near that the last steps need no walk before them
            end = _finish(seen, journey, options)
            if end is not None and end.arrived:
                return _smooth_result(end, levels[0], journey, options)
        noise = None
        if level == 0 and options.noise is not None:
            noise = noise_of(*levels[0], options.noise, smooth=options.smooth)
        objective = _objective(_smoothed(seen[-1], options), journey, options, noise)
        _refine(objective, journey, level, options)
    end = None if options.kernel == "hat" else _finish(seen, journey, options)
    if end is None:  # too small for nine taps, if they were wanted
        return _hat_result(objective, journey, options)
    return _smooth_result(end, levels[0], journey, options)


def _nothing_to_compare(shape: tuple[int, ...], reason: str, options: _Options) -> Registration:
    """Return the result for images in which there is nothing to align."""
    dx, dy = options.init
    return Registration(
        dx=dx,
        dy=dy,
        loss=math.nan,
        ncc=math.nan,
        covariance=np.full((2, 2), np.inf),
        degrees_of_freedom=math.inf,
        goodness_of_fit=math.nan,
        curvature=np.zeros((2, 2)),
        success=False,
        status="flat",
        message=f"the displacement is not determined: {reason}",
        overlap=max(0.0, 1 - abs(dx) / shape[1]) * max(0.0, 1 - abs(dy) / shape[0]),
        window=(0, shape[0], 0, shape[1]),
        runner_up=None,
        n_steps=0,
        n_evaluations=0,
        n_passes=0,
        trace=np.empty(0, TRACE),
        options={"loss": options.loss, "method": options.method, "features": options.features},
    )


def _door(
    reference: ArrayLike, moving: ArrayLike, reference_mask: ArrayLike | None, moving_mask: ArrayLike | None
) -> _Pair:
    """Check both images and their masks."""
    B, finite_b = _checks.image("reference", reference)
    A, finite_a = _checks.image("moving", moving)
    _checks.same_shape(B, A)
    if min(B.shape) < 8:
        raise InputError(f"the images have shape {B.shape}; give at least 8 x 8 pixels")
    B, A = _checks.common_dtype(B, A)
    used = _checks.both(finite_b, _checks.mask("reference_mask", reference_mask, B.shape))
    usable = _checks.both(finite_a, _checks.mask("moving_mask", moving_mask, A.shape))
    used, usable = _checks.both(used, living(B)), _checks.both(usable, living(A))
    return _Pair(_filled(B, used), _filled(A, usable))


def _filled(image: Image, mask: Mask | None) -> Masked:
    """Give the pixels that may not be used the mean of the others: what lay there may be large beyond all digits."""
    if mask is None or not mask.any():
        return Masked(image, mask)
    mean = image[mask != 0].mean(dtype=np.float64)
    return Masked(np.where(mask != 0, image, image.dtype.type(mean)), mask)


def _reach(max_shift: float | tuple[float, float] | None, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the largest displacement along x and y."""
    if max_shift is None:
        return shape[1] / 2, shape[0] / 2
    both = (
        (max_shift, max_shift)
        if isinstance(max_shift, int | float)
        else _checks.pair_of_numbers("max_shift", max_shift)
    )
    return _checks.positive_number("max_shift", both[0]), _checks.positive_number("max_shift", both[1])


def _each(function: Callable[[Masked], T], pair: _Pair, options: _Options) -> list[T]:
    """Apply a function to both images, side by side if there are threads: the kernels let go of Python's lock."""
    if options.threads == 1 or pair[0].image.size < _WORTH_THREADS:
        return [function(image) for image in pair]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(function, pair))


def _seen(pair: _Pair, options: _Options) -> _Pair:
    """Return a level as the bilinear objective sees it: smoothed, and reduced to its edges if asked.

    The magnitude of a gradient is sharper than the image it comes from, so that it is smoothed as well.
    """
    return _smoothed(_featured(pair, options), options)


def _featured(pair: _Pair, options: _Options) -> _Pair:
    """Return a level as it is, or reduced to its fine structure or to the edges of its smoothed images."""
    if options.features == "fine":
        return _Pair(
            *_each(lambda image: _structure(image, band_pass(image, _MIDDLE_TONES), _REACHES["fine"]), pair, options)
        )
    if options.features == "edges":
        return _Pair(
            *_each(
                lambda image: _structure(image, edges(smoothed(image, options.smooth)), _REACHES["edges"]),
                pair,
                options,
            )
        )
    return pair


def _structure(image: Masked, featured: Masked, reach: int) -> Masked:
    """Return what a filter makes of an image, or nothing if that is only its rounding, as the edges of a ramp are."""
    levels = featured.image[reach:-reach, reach:-reach]
    rounding = 16 * np.finfo(image.image.dtype).eps * max(float(image.image.max()), -float(image.image.min()))
    sparse = levels[::8, ::8]
    if levels.size and sparse.std(dtype=np.float64) * math.sqrt(sparse.size / levels.size) > rounding:
        return featured  # the others cannot bring the scatter of all below that
    if levels.size and levels.std(dtype=np.float64) <= rounding:
        return Masked(np.zeros_like(featured.image), featured.mask)
    return featured


def _smoothed(pair: _Pair, options: _Options) -> _Pair:
    """Return a level smoothed."""
    return _Pair(*_each(lambda image: smoothed(image, options.smooth), pair, options))


def _start(levels: list[_Pair], first: int, options: _Options) -> _Journey:
    """Return where to begin on the first level."""
    found = _search(levels, first, options)
    return found if options.method in SEARCHES else _at_init(first, found, options)


def _alike(pair: _Pair, journey: _Journey) -> bool:
    """Say whether two images show one scene in one light: whether they correlate once the noise is smoothed away."""
    blurred = [halve(smoothed(image, 1.0)) for image in pair]
    dx, dy = journey.dx / 2, journey.dy / 2
    window = _window(blurred[0].image.shape, dx, dy)
    try:
        return NCC.of(*blurred, domain=window).value(dx, dy) <= -_ALIKE
    except _checks.UndefinedLossError:
        return False


def _at_init(level: int, found: _Journey, options: _Options) -> _Journey:
    """Return the journey that begins where the caller says, with what a search saw as a witness to where it ends."""
    x, y = (v / 2**level for v in options.init)
    return replace(found, dx=x, dy=y, witness=(found.dx * 2**level, found.dy * 2**level), grain=2 * 2.0**level)


def _cropped(pair: _Pair) -> _Pair:
    """Return a level without the outer share of both frames."""
    height, width = pair.reference.image.shape
    my, mx = round(_FRAME * height), round(_FRAME * width)
    inside = np.s_[my : height - my, mx : width - mx]
    return _Pair(
        *(Masked(np.ascontiguousarray(f.image[inside]), None if f.mask is None else f.mask[inside]) for f in pair)
    )


def _search(levels: list[_Pair], level: int, options: _Options) -> _Journey:
    """Look at all integer displacements of one level, and start at the one that stands out most."""
    seen = _seen(levels[level], options)
    # fine structure tells displacements apart; slow changes of light only blur the difference
    cropped = _cropped(_Pair(*(band_pass(image, _COARSE_TONES) for image in seen)))
    size = cropped[0].image.shape
    box = size[1] // 2, size[0] // 2
    surface = all_lags(
        cropped[0].image, cropped[1].image, max_shift=box,
        reference_mask=cropped[0].mask, moving_mask=cropped[1].mask, min_overlap=0.1,
    )  # fmt: skip
    if not np.isfinite(surface.loss).any():
        raise _checks.UndefinedLossError("one of the images is constant, or the masks leave too little to compare")
    score = _scores(surface)
    # the scatter is that of all displacements, the choice only among those asked for
    candidates = minima(replace(surface, loss=np.where(_asked(box, level, options), -score, np.inf)), most=6)
    if not candidates:
        raise _checks.UndefinedLossError("within max_shift of init too little overlaps to compare")
    best = _contest(candidates, seen, options)
    rho = -float(surface.loss[best.dy + box[1], best.dx + box[0]])
    journey = _Journey(best.dx, best.dy, score=-best.loss, correlation=rho)
    others = [c for c in candidates if max(abs(c.dx - best.dx), abs(c.dy - best.dy)) > 2]
    if others:
        loss = float(surface.loss[others[0].dy + box[1], others[0].dx + box[0]])
        journey.runner_up = (others[0].dx * 2.0**level, others[0].dy * 2.0**level, loss)
        journey.ambiguity = min(max(others[0].loss / best.loss, 0.0), 1.0)
    journey.passes += 1
    return journey


def _contest(candidates: list[Candidate], pair: _Pair, options: _Options) -> Candidate:
    """Return the candidate whose exact minimum is lowest, among those that stand out nearly as much as the first."""
    first = candidates[0]
    rivals = [first, *(candidate for candidate in candidates[1:] if candidate.loss <= _RIVAL * first.loss)]
    if len(rivals) == 1:
        return rivals[0]

    def depth(candidate: Candidate) -> float:
        objective = _objective(pair, _Journey(candidate.dx, candidate.dy), options)
        return walk(objective, (candidate.dx, candidate.dy))[2]

    return min(rivals, key=depth)


def _asked(box: tuple[int, int], level: int, options: _Options) -> NDArray[np.bool_]:
    """Say which displacements of a box, in pixels of a level, lie within max_shift of init."""
    (cx, cy), (mx, my) = options.init, options.max_shift
    dx, dy = (2**level * np.arange(-m, m + 1) for m in box)
    return np.asarray(np.outer(np.abs(dy - cy) <= my + 2**level, np.abs(dx - cx) <= mx + 2**level))


def _scores(surface: LagSurface) -> NDArray[np.float64]:
    """Return by how many standard deviations of an unrelated pair each displacement stands out.

    The correlation of n independent pixels scatters by 1 / sqrt(n); how many of the overlapping ones are independent
    is not known, but it is the same share everywhere and follows from the scatter over all displacements.
    """
    finite = np.isfinite(surface.loss)
    rho = np.where(finite, -surface.loss, 0.0)
    z = rho * np.sqrt(surface.overlap / surface.overlap.max())
    sample = np.abs(z[::2, ::2][finite[::2, ::2]])
    spread = np.median(sample) / 0.6745 if sample.size else 1.0
    return np.where(finite, z / max(spread, 1e-12), -np.inf)


def _window(shape: tuple[int, ...], dx: float, dy: float, border: float | None = None, *, least: int = 2) -> Window:
    """Return the pixels in the middle of the reference's frame that read from the middle of the moving one."""
    bounds: list[int] = []
    for size, d in ((shape[0], dy), (shape[1], dx)):
        margin = max(least, round((_FRAME if border is None else border) * size))
        first = max(margin, math.ceil(margin - d))
        last = min(size - margin, math.floor(size - margin - d))
        if last - first < 4:  # the frames hardly overlap: take what there is, for the status to judge
            first, last = max(0, math.ceil(-d)), min(size, math.floor(size - d))
            if last - first < 4:
                first, last = 0, size
        bounds += [first, last]
    return bounds[0], bounds[1], bounds[2], bounds[3]


def _objective(pair: _Pair, journey: _Journey, options: _Options, noise: Noise | None = None) -> Objective:
    """Make the loss of one level, over a window fixed by where the coarser level arrived."""
    window = _window(pair.reference.image.shape, journey.dx, journey.dy, options.border)
    return LOSSES[options.loss].of(*pair, domain=window, noise=noise, threads=options.threads)


def _refine(objective: Objective, journey: _Journey, level: int, options: _Options) -> None:
    """Descend on one level, from where the journey stands."""
    if options.method in SEARCHES:
        before = journey.dx, journey.dy
        journey.dx, journey.dy, _, journey.arrived = walk(objective, before)
        for step, (dx, dy) in enumerate((before, (journey.dx, journey.dy))):
            value, gradient = objective.value_and_gradient(dx, dy)
            _record(journey, level, step, dx, dy, value, gradient, options)
    else:
        rule = _rule(objective, journey, level, options)
        descent = minimise(objective, rule, start=(journey.dx, journey.dy), steps=300, tolerance=1e-3)
        journey.dx, journey.dy, journey.arrived = descent.dx, descent.dy, descent.success
        for row in descent.trace:
            gradient = np.array([row["grad_dx"], row["grad_dy"]])
            _record(journey, level, int(row["step"]), row["dx"], row["dy"], row["loss"], gradient, options)
    journey.evaluations += objective.evaluations
    journey.passes += objective.passes


def _rule(objective: Objective, journey: _Journey, level: int, options: _Options) -> Rule | Newton:
    """Return the step rule of a method, its learning rate set by the curvature where it starts and where it may end."""
    if options.method == "newton":
        return Newton()
    if options.method == "adam":
        return Adam(0.1)
    # far from the minimum a loss may be flat, and a rate for there would throw the descent back and forth at the end
    places = [(journey.dx, journey.dy), (journey.witness[0] / 2**level, journey.witness[1] / 2**level)]
    curvatures = [np.abs(np.linalg.eigvalsh(objective.hessian(*place))).max() for place in places]
    return GradientDescent(1 / max(float(max(curvatures)), 1e-12), momentum=0.5)


def _record(
    journey: _Journey, level: int, step: int, dx: float, dy: float, value: float, gradient: NDArray[np.float64],
    options: _Options,
) -> None:  # fmt: skip
    """Write one visited displacement down, in pixels of the finest level."""
    row = (
        level,
        step,
        float(dx) * 2**level,
        float(dy) * 2**level,
        float(value),
        float(gradient[0]),
        float(gradient[1]),
    )
    journey.rows.append(row)
    if options.callback is not None:
        options.callback(level, step, row[2], row[3], row[4])


def _finish(seen: list[_Pair], journey: _Journey, options: _Options) -> _End | None:
    """Take the last steps with the Gaussian kernel, at the finest level that shows one scene in both images.

    Edges of two different exposures share less the finer they are: grain, dust, what moved in between. Below the level
    where most of their variance is shared, a fit follows whatever happens to agree best.
    """
    end: _End | None = None
    for level, pair in enumerate(reversed(seen)):
        shape, start = pair.reference.image.shape, (journey.dx / 2**level, journey.dy / 2**level)
        inner = _window(shape, *start, options.border)
        choice = _kernel(pair, start, inner, options)._asdict()
        reach = _REACHES[options.features]
        outer = _window(shape, *start, 0.0, least=reach + REACH) if options.border is None else inner
        white, threads = options.features == "intensity", options.threads
        found = refine(
            LOSSES[options.loss], *pair, start, inner=inner, outer=outer, white=white, threads=threads, **choice
        )
        if found is None:
            break
        journey.passes += found.passes
        journey.evaluations += found.passes
        if end is None or not end.arrived or _fitter(found, level - end.level, end.found, options):
            end = _End(found, level)
        if end.arrived and _fine(end.found, options):
            break
    return end


def _kernel(pair: _Pair, start: tuple[float, float], window: Window, options: _Options) -> Choice:
    """Return the kernel of the last steps: as given, for grey levels by their spectra, otherwise by the features."""
    usual = options.kernel if isinstance(options.kernel, Gaussian) else _KERNELS[options.features]
    free = options.kernel is None and options.features == "intensity"
    fitting = choose(*pair, start, window) if free else choose(*pair, start, window, widths=(usual.sigma,))
    return fitting or Choice(usual, np.zeros(2))


def _fine(end: Refinement, options: _Options) -> bool:
    """Say whether a level is good enough to look no further up."""
    if options.features == "edges" and options.loss == "ncc":
        return -end.loss >= _SHARED
    return _error(end) <= PRECISE


def _error(end: Refinement) -> float:
    """Return the root of the summed variances, in pixels of the level."""
    return math.sqrt(float(np.trace(end.spread.covariance)))


def _fitter(found: Refinement, levels: int, end: Refinement, options: _Options) -> bool:
    """Say whether what a coarser level found is to be preferred."""
    if options.features == "edges" and options.loss == "ncc":
        return found.arrived
    return found.arrived and _error(found) * 2**levels < _MARKEDLY * _error(end)


def _hat_result(objective: Objective, journey: _Journey, options: _Options) -> Registration:
    """Return the result of a descent on a bilinear loss."""
    at = journey.dx, journey.dy
    value, hessian = objective.value(*at), objective.hessian(*at)
    ncc = -value if options.loss == "ncc" else objective.correlation(*at)
    if options.loss == "mse":
        hessian = hessian / max(2 * objective.reference_variance(), 1e-300)
    blocks = blocks_of(objective.domain)
    covariance = sandwich(objective.gradient_by_blocks(*at, blocks=blocks), objective.hessian(*at))
    spread = Spread(covariance, float(len(blocks) - 2), math.nan, True)
    return _result(objective.shape, journey, options, value, ncc, hessian, spread, objective.domain)


def _smooth_result(end: _End, finest: _Pair, journey: _Journey, options: _Options) -> Registration:
    """Return the result of the last steps."""
    found, level, scale = end.found, end.level, 2**end.level
    for step, visit in enumerate(found.visits):
        _record(journey, level, step, visit.dx, visit.dy, visit.loss, visit.gradient, options)
    journey.dx, journey.dy, journey.arrived = found.dx * scale, found.dy * scale, found.arrived
    hessian = found.hessian / scale**2
    if options.loss == "mse":
        hessian = hessian / max(2 * found.variance, 1e-300)
    top, bottom, left, right = found.window
    window = top * scale, bottom * scale, left * scale, right * scale
    shape = finest.reference.image.shape[0], finest.reference.image.shape[1]
    spread = found.spread._replace(covariance=found.spread.covariance * scale**2)
    return _result(shape, journey, options, found.loss, found.ncc, hessian, spread, window)


def _result(
    shape: tuple[int, int],
    journey: _Journey,
    options: _Options,
    value: float,
    ncc: float,
    hessian: NDArray[np.float64],
    spread: Spread,
    window: Window,
) -> Registration:
    """Judge the end of a journey; the Hessian is that of the negative correlation."""
    dx, dy = journey.dx, journey.dy
    height, width = shape
    overlap = max(0.0, 1 - abs(dx) / width) * max(0.0, 1 - abs(dy) / height)
    beyond = any(
        abs(d - start) > most for d, start, most in zip((dx, dy), options.init, options.max_shift, strict=True)
    )
    status, message = verdict(
        Evidence(
            shape=shape,
            ncc=ncc,
            hessian=hessian,
            covariance=spread.covariance,
            like_noise=spread.like_noise,
            score=journey.score,
            ambiguity=journey.ambiguity,
            runner_up=journey.runner_up,
            strayed_from=journey.witness if journey.strayed else None,
            arrived=journey.arrived,
            beyond_bound=beyond,
            overlap=overlap,
            min_overlap=options.min_overlap,
            of_edges=options.features == "edges",
        )
    )
    return Registration(
        dx=dx,
        dy=dy,
        loss=value,
        ncc=ncc,
        covariance=spread.covariance,
        degrees_of_freedom=spread.degrees_of_freedom,
        goodness_of_fit=spread.goodness_of_fit,
        curvature=hessian,
        success=status == "converged",
        status=status,
        message=message,
        overlap=overlap,
        window=window,
        runner_up=journey.runner_up,
        n_steps=len(journey.rows),
        n_evaluations=journey.evaluations,
        n_passes=journey.passes,
        trace=np.array(journey.rows, TRACE),
        options={"loss": options.loss, "method": options.method, "features": options.features},
    )


def _plain(value: float) -> float | None:
    """Return a number that JSON can hold: None for what is not finite."""
    return float(value) if math.isfinite(value) else None
