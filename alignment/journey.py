r"""The way to a displacement: where a search sends it, and the descent on each level of a pyramid."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ._checks import UndefinedLossError
from .descent import Adam, GradientDescent, Newton, Rule, minimise
from .losses import Noise, Objective, Window
from .options import LOSSES, Options
from .search import Candidate, LagSurface, all_lags, minima, walk
from .views import FRAME, Both, Pair, cropped

# candidates that stand out by this share of the best one, whose exact minima are compared
_RIVAL = 0.85


@dataclass
class Journey:
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


def start(both: Both, first: int, options: Options) -> Journey:
    """Return where to begin on the first level."""
    found = search(both, first, options)
    return found if options.searches else _at_init(first, found, options)


def _at_init(level: int, found: Journey, options: Options) -> Journey:
    """Return the journey that begins where the caller says, with what a search saw as a witness to where it ends."""
    x, y = (v / 2**level for v in options.init)
    return replace(found, dx=x, dy=y, witness=(found.dx * 2**level, found.dy * 2**level), grain=2 * 2.0**level)


def search(both: Both, level: int, options: Options) -> Journey:
    """Look at all integer displacements of one level, and start at the one that stands out most."""
    # fine structure tells displacements apart; slow changes of light only blur the difference
    reference, moving = cropped(both.toneless(level, options.features))
    size = reference.image.shape
    box = size[1] // 2, size[0] // 2
    surface = all_lags(
        reference.image, moving.image, max_shift=box,
        reference_mask=reference.mask, moving_mask=moving.mask, min_overlap=0.1,
    )  # fmt: skip
    if not np.isfinite(surface.loss).any():
        raise UndefinedLossError("one of the images is constant, or the masks leave too little to compare")
    score = _scores(surface)
    # the scatter is that of all displacements, the choice only among those asked for
    candidates = minima(replace(surface, loss=np.where(_asked(box, level, options), -score, np.inf)), most=6)
    if not candidates:
        raise UndefinedLossError("within max_shift of init too little overlaps to compare")
    best = _contest(candidates, both.smoothed(level, options.features), options)
    rho = -float(surface.loss[best.dy + box[1], best.dx + box[0]])
    journey = Journey(best.dx, best.dy, score=-best.loss, correlation=rho)
    others = [c for c in candidates if max(abs(c.dx - best.dx), abs(c.dy - best.dy)) > 2]
    if others:
        loss = float(surface.loss[others[0].dy + box[1], others[0].dx + box[0]])
        journey.runner_up = (others[0].dx * 2.0**level, others[0].dy * 2.0**level, loss)
        journey.ambiguity = min(max(others[0].loss / best.loss, 0.0), 1.0)
    journey.passes += 1
    return journey


def _contest(candidates: list[Candidate], pair: Pair, options: Options) -> Candidate:
    """Return the candidate whose exact minimum is lowest, among those that stand out nearly as much as the first."""
    first = candidates[0]
    rivals = [first, *(candidate for candidate in candidates[1:] if candidate.loss <= _RIVAL * first.loss)]
    if len(rivals) == 1:
        return rivals[0]

    def depth(candidate: Candidate) -> float:
        objective = objective_of(pair, Journey(candidate.dx, candidate.dy), options)
        return walk(objective, (candidate.dx, candidate.dy))[2]

    return min(rivals, key=depth)


def _asked(box: tuple[int, int], level: int, options: Options) -> NDArray[np.bool_]:
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


def window_of(shape: tuple[int, ...], dx: float, dy: float, border: float | None = None, *, least: int = 2) -> Window:
    """Return the pixels in the middle of the reference's frame that read from the middle of the moving one."""
    bounds: list[int] = []
    for size, d in ((shape[0], dy), (shape[1], dx)):
        margin = max(least, round((FRAME if border is None else border) * size))
        first = max(margin, math.ceil(margin - d))
        last = min(size - margin, math.floor(size - margin - d))
        if last - first < 4:  # the frames hardly overlap: take what there is, for the status to judge
            first, last = max(0, math.ceil(-d)), min(size, math.floor(size - d))
            if last - first < 4:
                first, last = 0, size
        bounds += [first, last]
    return bounds[0], bounds[1], bounds[2], bounds[3]


def objective_of(pair: Pair, journey: Journey, options: Options, noise: Noise | None = None) -> Objective:
    """Make the loss of one level, over a window fixed by where the coarser level arrived."""
    window = window_of(pair.reference.image.shape, journey.dx, journey.dy, options.border)
    return LOSSES[options.loss].of(*pair, domain=window, noise=noise, threads=options.threads)


def descend_on(objective: Objective, journey: Journey, level: int, options: Options) -> None:
    """Descend on one level, from where the journey stands."""
    if options.searches:
        before = journey.dx, journey.dy
        journey.dx, journey.dy, _, journey.arrived = walk(objective, before)
        for step, (dx, dy) in enumerate((before, (journey.dx, journey.dy))):
            value, gradient = objective.value_and_gradient(dx, dy)
            record(journey, level, step, dx, dy, value, gradient, options)
    else:
        rule = _rule(objective, journey, level, options)
        descent = minimise(objective, rule, start=(journey.dx, journey.dy), steps=300, tolerance=1e-3)
        journey.dx, journey.dy, journey.arrived = descent.dx, descent.dy, descent.success
        for row in descent.trace:
            gradient = np.array([row["grad_dx"], row["grad_dy"]])
            record(journey, level, int(row["step"]), row["dx"], row["dy"], row["loss"], gradient, options)
    journey.evaluations += objective.evaluations
    journey.passes += objective.passes


def _rule(objective: Objective, journey: Journey, level: int, options: Options) -> Rule | Newton:
    """Return the step rule of a method, its learning rate set by the curvature where it starts and where it may end."""
    if options.method == "newton":
        return Newton()
    if options.method == "adam":
        return Adam(0.1)
    # far from the minimum a loss may be flat, and a rate for there would throw the descent back and forth at the end
    places = [(journey.dx, journey.dy), (journey.witness[0] / 2**level, journey.witness[1] / 2**level)]
    curvatures = [np.abs(np.linalg.eigvalsh(objective.hessian(*place))).max() for place in places]
    return GradientDescent(1 / max(float(max(curvatures)), 1e-12), momentum=0.5)


def record(
    journey: Journey, level: int, step: int, dx: float, dy: float, value: float, gradient: NDArray[np.float64],
    options: Options,
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
