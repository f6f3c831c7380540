r"""The end of a way: the last steps, with the kernel that has the least bias, and the result that they make."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bandwidth import WIDTHS, Choice, choose
from .gaussian import REACH, WIDEST, Gaussian
from .journey import Journey, record, window_of
from .losses import Objective, Window
from .options import LOSSES, Options
from .refinement import Refinement, refine
from .result import TRACE, Registration
from .uncertainty import Spread, blocks_of, sandwich
from .verdict import PRECISE, Evidence, verdict
from .views import REACHES, Pair

# of grey levels as sharp as the pixel grid carries without the blur depending on the fraction; of edges, which are
# sharper than the image they come from, a little wider
_KERNELS = {"intensity": Gaussian(0.8), "fine": Gaussian(0.8), "edges": Gaussian(1.0)}
# the correlation of the edges from which on a level is fine enough
_SHARED = 0.55
# how much smaller a coarser level's standard error must be to be preferred
_MARKEDLY = 0.8


class End(NamedTuple):
    """Where the last steps led, and at which level."""

    found: Refinement
    level: int

    @property
    def arrived(self) -> bool:
        """Whether the last of them was too short to matter."""
        return self.found.arrived


def finish(seen: list[Pair], journey: Journey, options: Options) -> End | None:
    """Take the last steps with the Gaussian kernel, at the finest level that shows one scene in both images.

    Edges of two different exposures share less the finer they are: grain, dust, what moved in between. Below the level
    where most of their variance is shared, a fit follows whatever happens to agree best.
    """
    end: End | None = None
    for level, pair in enumerate(reversed(seen)):
        found = _stepped(pair, (journey.dx / 2**level, journey.dy / 2**level), journey, options)
        if found is None:
            break
        if end is None or not end.arrived or _fitter(found, level - end.level, end.found, options):
            end = End(found, level)
        if end.arrived and _fine(end.found, options):
            break
    if end is None or not end.arrived or options.features == "edges":
        return end
    return _returned(end, seen, journey, options)


def _returned(end: End, seen: list[Pair], journey: Journey, options: Options) -> End:
    """Go back to finer levels, which were lost or imprecise from where they began, from where a coarser one arrived."""
    for level in range(end.level - 1, -1, -1):
        scale = 2 ** (end.level - level)
        start = scale * end.found.dx, scale * end.found.dy
        found = _stepped(seen[-1 - level], start, journey, options, known=True)
        if found is None or not found.arrived or _error(found) >= scale * _error(end.found):
            break
        end = End(found, level)
    return end


def _stepped(
    pair: Pair, start: tuple[float, float], journey: Journey, options: Options, *, known: bool = False
) -> Refinement | None:
    """Take the last steps at one level, where there is room for the taps of the kernel, and count its passes."""
    shape = pair.reference.image.shape
    inner = window_of(shape, *start, options.border)
    reach = REACHES[options.features]
    outer = window_of(shape, *start, 0.0, least=reach + REACH) if options.border is None else inner
    found = _refined(pair, start, (inner, outer), options, known=known)
    if found is not None:
        journey.passes += found.passes
        journey.evaluations += found.passes
    return found


def _refined(
    pair: Pair, start: tuple[float, float], windows: tuple[Window, Window], options: Options, *, known: bool
) -> Refinement | None:
    """Take the last steps at one level, with a kernel as given, by the spectra of the grey levels, or by the features.

    Where noise alone makes the answer imprecise, or leads away from a start that is `known` to be near, the spectra are
    too noisy to tell a width, and the widest does best.
    """
    inner, outer = windows
    usual = options.kernel if isinstance(options.kernel, Gaussian) else _KERNELS[options.features]
    free = options.kernel is None and options.features == "intensity"
    white, threads = options.features == "intensity", options.threads
    steps = partial(refine, LOSSES[options.loss], *pair, start, inner=inner, outer=outer, white=white, threads=threads)
    choice = choose(*pair, start, inner, widths=WIDTHS if free else (usual.sigma,)) or Choice(usual, np.zeros(2))
    found = steps(**choice._asdict())
    if not free or found is None or choice.kernel.sigma == WIDEST:
        return found
    if not _drowned(found) and (found.arrived or not known):
        return found
    widest = choose(*pair, start, inner, widths=(WIDEST,))
    wider = None if widest is None else steps(**widest._asdict())
    if wider is None or not (wider.arrived and wider.spread.like_noise):
        return found
    return replace(wider, passes=found.passes + wider.passes)


def _drowned(end: Refinement) -> bool:
    """Say whether an answer is imprecise, and nothing but noise to blame: nothing moved, or looks different.

    What a narrow kernel shows to be unlike noise, a wide one smooths away, and calls the answer more precise.
    """
    return end.spread.like_noise and PRECISE < _error(end) < math.inf


def _fine(end: Refinement, options: Options) -> bool:
    """Say whether a level is good enough to look no further up."""
    if options.features == "edges":
        return end.ncc >= _SHARED
    return _error(end) <= PRECISE


def _error(end: Refinement) -> float:
    """Return the root of the summed variances, in pixels of the level."""
    return math.sqrt(float(np.trace(end.spread.covariance)))


def _fitter(found: Refinement, levels: int, end: Refinement, options: Options) -> bool:
    """Say whether what a coarser level found is to be preferred."""
    if options.features == "edges":
        return found.arrived
    return found.arrived and _error(found) * 2**levels < _MARKEDLY * _error(end)


def hat_result(objective: Objective, journey: Journey, options: Options) -> Registration:
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


def smooth_result(end: End, shape: tuple[int, int], journey: Journey, options: Options) -> Registration:
    """Return the result of the last steps."""
    found, level, scale = end.found, end.level, 2**end.level
    for step, visit in enumerate(found.visits):
        record(journey, level, step, visit.dx, visit.dy, visit.loss, visit.gradient, options)
    journey.dx, journey.dy, journey.arrived = found.dx * scale, found.dy * scale, found.arrived
    hessian = found.hessian / scale**2
    if options.loss == "mse":
        hessian = hessian / max(2 * found.variance, 1e-300)
    top, bottom, left, right = found.window
    window = top * scale, bottom * scale, left * scale, right * scale
    spread = found.spread._replace(covariance=found.spread.covariance * scale**2)
    return _result(shape, journey, options, found.loss, found.ncc, hessian, spread, window)


def _result(
    shape: tuple[int, int],
    journey: Journey,
    options: Options,
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
        options=options.named,
    )


def nothing_to_compare(shape: tuple[int, ...], reason: str, options: Options) -> Registration:
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
        options=options.named,
    )
