"""What the publication claims, judged one by one by the numbers of a study, and what explains them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .experiment import RATES, RULES, STEPS
from .study import COUNT, LOSS, RATE, RIGHT, Study, median

# a ratio of times is called the same up to here, where it is as far from 1 as from the ratio of the steps: of the two
# things that are said of time, the nearer one holds
_SAME_TIME = float(np.sqrt(max(STEPS) / min(STEPS)))
# pixels by which a run has to end nearer to count as helped
_NEARER = 0.5


@dataclass(frozen=True)
class Claim:
    """A published claim and what became of it.

    Attributes
    ----------
    statement : str
    method : {"text", "program", "ours"}
        By which descent it was tried.
    holds : bool
    evidence : str
        The numbers.
    """

    statement: str
    method: str
    holds: bool
    evidence: str


def judge(study: Study) -> list[Claim]:
    """Judge the published claims, for the descent that the text describes and for the one that the program ran.

    Parameters
    ----------
    study : Study

    Returns
    -------
    list of Claim
    """
    return [claim for method in RULES for claim in _claims(study, method)]


def explain(study: Study) -> list[str]:
    """Say in sentences, with the numbers of the study, why the published setting ends where it does.

    Parameters
    ----------
    study : Study

    Returns
    -------
    list of str
    """
    return [_travel(study), *_stops(study), _first_step(study), _causes(study)]


def _claims(study: Study, method: str) -> Iterator[Claim]:
    """Judge each claim for one method."""
    yield _best(study, method)
    yield _poor(study, method)
    yield _same_time(study, method)
    yield _longer(study, method)
    yield _no_help(study, method)
    yield _worse_loss(study, method)
    yield _right(study, method)


def _best(study: Study, method: str) -> Claim:
    """Judge: of the three rates the smallest comes nearest."""
    medians = [median(study.select(method=method, loss=LOSS, learning_rate=r, steps=COUNT), "distance") for r in RATES]
    wins = [0] * len(RATES)
    for answer in study.answers:
        rows = study.select(plate=answer.plate, channel=answer.channel, method=method, loss=LOSS, steps=COUNT)
        wins[int(np.argmin([row.distance for row in rows]))] += 1
    told = ", ".join(f"{m:.2f} px at {r}" for m, r in zip(medians, RATES, strict=True))
    nearest = ", ".join(f"{n} at {r}" for n, r in zip(wins, RATES, strict=True))
    evidence = f"median distance {told}; nearest to the answer: {nearest} of {len(study.answers)} channels"
    return Claim("a learning rate of 0.001 is the best of the three", method, int(np.argmin(medians)) == 2, evidence)


def _poor(study: Study, method: str) -> Claim:
    """Judge: the largest rate ends further away than it began."""
    rows = study.select(method=method, learning_rate=0.1)
    start = float(np.median([np.hypot(a.dx, a.dy) for a in study.answers]))
    away = median(rows, "distance")
    worse = sum(row.distance > _start(study, row.plate, row.channel) for row in rows)
    evidence = (
        f"median distance {away:.1f} px, against {start:.1f} px without a step; {worse} of {len(rows)} runs end "
        "further away than they began"
    )
    return Claim("a learning rate of 0.1 is poor", method, away > start, evidence)


def _same_time(study: Study, method: str) -> Claim:
    """Judge: time does not depend on the rate."""
    rows = [study.select(method=method, loss=LOSS, learning_rate=r, steps=COUNT) for r in RATES]
    # channel by channel, for other work on the machine comes and goes
    ratios = [
        float(np.median([a.seconds / b.seconds for a, b in zip(some, rows[RATES.index(RATE)], strict=True)]))
        for some in rows
    ]
    told = ", ".join(f"{1e3 * median(some, 'seconds'):.1f} ms at {r}" for some, r in zip(rows, RATES, strict=True))
    times = ", ".join(f"{v:.2f} times at {r}" for v, r in zip(ratios, RATES, strict=True) if r != RATE)
    evidence = (
        f"median of {COUNT} steps with {LOSS.upper()}: {told}; channel by channel {times} what it is at {RATE} "
        f"(called the same below {_SAME_TIME:.2f}, half-way to what {max(STEPS)} steps instead of {min(STEPS)} do). "
        f"Each evaluates the loss {COUNT + 1} times; far out, what reads only zeros is summed apart, which takes longer"
    )
    return Claim("time does not depend on the learning rate", method, max(ratios) / min(ratios) <= _SAME_TIME, evidence)


def _longer(study: Study, method: str) -> Claim:
    """Judge: time grows with the steps."""
    few, many = (median(study.select(method=method, loss=LOSS, steps=s), "seconds") for s in STEPS)
    evidence = f"{1e3 * few:.1f} ms for {STEPS[0]} steps, {1e3 * many:.1f} ms for {STEPS[1]}: {many / few:.1f} times"
    return Claim("time grows with the number of steps", method, many > _SAME_TIME * few, evidence)


def _no_help(study: Study, method: str) -> Claim:
    """Judge: at the recommended rate more steps do not help."""
    few, many = (study.select(method=method, loss=LOSS, learning_rate=RATE, steps=s) for s in STEPS)
    gains = np.array([a.distance - b.distance for a, b in zip(few, many, strict=True)])
    helped, harmed = int((gains > _NEARER).sum()), int((gains < -_NEARER).sum())
    evidence = (
        f"median distance {median(few, 'distance'):.2f} px after {STEPS[0]} steps, {median(many, 'distance'):.2f} px "
        f"after {STEPS[1]}; more than {_NEARER:g} px nearer on {helped}, further on {harmed} of {len(gains)} channels"
    )
    return Claim("at 0.001 more steps do not help", method, helped <= harmed or helped == 0, evidence)


def _worse_loss(study: Study, method: str) -> Claim:
    """Judge: MSE ends further away than NCC."""
    pairs = {loss: study.select(method=method, loss=loss, learning_rate=RATE, steps=COUNT) for loss in ("mse", "ncc")}
    mse, ncc = (median(rows, "distance") for rows in pairs.values())
    nearer = sum(n.distance < m.distance for m, n in zip(*pairs.values(), strict=True))
    evidence = f"median distance {mse:.2f} px with MSE, {ncc:.2f} px with NCC; NCC nearer on {nearer} of "
    return Claim("MSE is worse than NCC", method, mse > ncc, evidence + f"{len(study.answers)} channels")


def _right(study: Study, method: str) -> Claim:
    """Judge: the recommended setting aligns the plates."""
    rows = study.select(method=method, loss=LOSS, learning_rate=RATE, steps=COUNT)
    told = []
    for channel in dict.fromkeys(row.channel for row in rows):
        distances = [row.distance for row in rows if row.channel == channel]
        right = sum(distance <= RIGHT for distance in distances)
        listed = ", ".join(f"{distance:.1f}" for distance in distances)
        told.append(f"{channel} within {RIGHT:g} px on {right} of {len(distances)} plates ({listed})")
    holds = all(row.distance <= RIGHT for row in rows)
    return Claim(f"{COUNT} steps at {RATE} with NCC align the channels", method, holds, "; ".join(told))


def _start(study: Study, plate: str, channel: str) -> float:
    """Return how far a channel's answer lies from the start."""
    return next(e.needed for e in study.endings if (e.plate, e.channel) == (plate, channel))


def _travel(study: Study) -> str:
    """Say what bounds the travel."""
    x, y = (max(ending.reach[i] for ending in study.endings) for i in (0, 1))
    wide = round(2 * x / (COUNT * RATE))
    plain = study.select(method="text", loss="mse", learning_rate=RATE, steps=COUNT)
    moved = float(np.median([np.hypot(row.dx, row.dy) for row in plain]))
    return (
        "Adam's first step has the length of the learning rate along each axis, whatever the gradient, and later ones "
        f"are hardly longer: steps x rate bounds the travel. {COUNT} x {RATE} in normalised coordinates is {x:.1f} px "
        f"along x ({wide} px wide) and {y:.1f} px along y. At 0.1 a step is some {0.1 * wide / 2:.0f} px long, far "
        "more than any basin is wide. Plain descent scales with the gradient instead: with MSE, of small slopes, "
        f"{COUNT} steps at {RATE} move a median of {moved:.2f} px."
    )


def _stops(study: Study) -> Iterator[str]:
    """Say on which plates the recommended setting stops short, and why."""
    short = [ending for ending in study.endings if ending.reason != "arrived"]
    if not short:
        yield f"The recommended setting ends within {RIGHT:g} px of the answer on every channel."
        return
    yield f"The recommended setting stops short on {len(short)} of {len(study.endings)} channels:"
    answers = {(a.plate, a.channel): (a.dx, a.dy) for a in study.answers}
    for e in short:
        x, y = answers[e.plate, e.channel]
        why = []
        if "out of reach" in e.reason:
            bounds = f"{e.reach[0]:.1f} along x or {e.reach[1]:.1f} along y"
            why.append(f"the answer, ({x:+.2f}, {y:+.2f}), lies beyond {bounds}")
        if "false minimum" in e.reason:
            why.append(f"rests by a minimum of its own loss at ({e.rest_dx:+.2f}, {e.rest_dy:+.2f})")
        if e.reason == "on the way":
            why.append(f"is on the way: {max(STEPS)} steps, or an exact descent, arrive")
        yield f"  {e.plate}, {e.channel}: {e.distance:.1f} px off at ({e.dx:+.2f}, {e.dy:+.2f}); {'; '.join(why)}"


def _first_step(study: Study) -> str:
    """Say how much the side of the first slope decides."""
    told = []
    for side in study.endings[0].by_side:
        right = sum(ending.by_side[side] <= RIGHT for ending in study.endings)
        told.append(f"{right} with the slope on the {side}" if side != "central" else f"{right} with the mean of both")
    right = sum(ending.distance <= RIGHT for ending in study.endings)
    spread = [np.ptp([*ending.by_side.values(), ending.distance]) for ending in study.endings]
    changed = sum(value > _NEARER for value in spread)
    return (
        "The descent starts at (0, 0), where the slopes on both sides of every pixel differ. The program's are a "
        "mixture: its source points are single-precision numbers, and those that are rounded to just below their pixel "
        f"take the slope on its left. By more than {_NEARER:g} px the side decides where {changed} of {len(spread)} "
        f"channels end: within {RIGHT:g} px end {right} as programmed, {', '.join(told)}."
    )


def _causes(study: Study) -> str:
    """Say what makes the false minima, and what unmakes them."""
    told = []
    for name in dict.fromkeys(r.landscape.split(", at 1/")[0] for r in study.roughness):
        rows = [r for r in study.roughness if r.landscape.split(", at 1/")[0] == name]
        shown = rows[0].landscape
        if name == "window":
            shown = "window, coarsest level of a pyramid"
        minima, away = (float(np.median([getattr(r, what) for r in rows])) for what in ("minima", "distance"))
        told.append(f"{shown}: {minima:.0f}, {away:.2f} px")
    return (
        "Two causes of false minima. Interpolation smooths between the pixels, noise most of all, so that the loss "
        "dips beside every integer; smoothing both images first takes that away. And the frame, which does not move "
        "with its content, and the zeros outside pull towards no displacement at all; a window that they never enter "
        "is free of that pull. Median number of minima around start and answer, and median distance of the lowest from "
        "the answer: "
        + "; ".join(told)
        + ". The coarse levels of a pyramid find the basin, the fine ones the place in it."
    )
