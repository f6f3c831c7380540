"""From frame to frame: each laid on good ones before it, and the path that follows.

With one partner each the displacements are added up along the chain, and so are their covariances. With partners
further back the path is solved for, see `alignment.path`.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks
from .frames import Frames, rejoined
from .ledger import FLOOR, MESSAGES, Ledger, Plan
from .losses import NCC
from .path import solve
from .pyramid import Masked
from .refinement import refine
from .registration import register
from .template import KERNEL, levelled
from .tracker import FAILURES, HEAD, Fit, Found, Habit, first_good, unfit
from .verdict import EXACT, exactness

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Link:
    """A good frame, kept for the next ones to be laid on."""

    number: int
    image: Masked
    place: Array


def follow(source: Frames, plan: Plan) -> Ledger:
    """Lay each frame on good ones before it."""
    ledger = Ledger()
    links: deque[_Link] = deque(maxlen=plan.lags[-1])
    pairs: list[tuple[int, int]] = []
    moves: list[Array] = []
    covariances: list[Array] = []
    habit = Habit()
    rest = iter(source)
    head = list(itertools.islice(rest, HEAD))
    begin = first_good([source.grey(frame, plan.channel) for frame in head])
    for number, frame in enumerate(rejoined(head, rest)):
        grey = source.grey(frame, plan.channel)
        plan.callback(number + 1, source.count)
        reason = unfit(grey)
        if reason is not None:
            ledger.add(grey, Found(reason, FAILURES[reason]))
            continue
        if number < begin:
            ledger.add(grey, Found("no correlation", MESSAGES["before"]))
            continue
        image = _filled(grey)
        if not links:
            links.append(_Link(number, image, np.zeros(2)))
            ledger.add(grey, Found("converged", "the reference"), np.zeros((2, 2)))
            ledger.places[-1] = 0.0, 0.0
            continue
        found = [
            (link, _pair(link.image, image, links[-1].place - link.place, habit, plan))
            for link in (links[-lag] for lag in plan.lags if lag <= len(links))
        ]
        good = [(link, f) for link, f in found if f.success]
        ledger.add(grey, (good or found)[0][1])
        if good:
            link, first = good[0]
            place = link.place + first.place
            ledger.places[-1] = float(place[0]), float(place[1])
            links.append(_Link(number, image, place))
        for link, f in good:
            assert f.fit is not None
            pairs.append((link.number, number))
            moves.append(np.array(f.place))
            covariances.append(f.fit.covariance + FLOOR * np.eye(2))
    _settle(ledger, np.array(pairs, np.int64).reshape(-1, 2), np.array(moves), np.array(covariances), plan)
    return ledger


def _settle(ledger: Ledger, pairs: NDArray[np.int64], moves: Array, covariances: Array, plan: Plan) -> None:
    """Put the places and covariances of a path in the place of those of the links."""
    good = [n for n, status in enumerate(ledger.status) if status == "converged"]
    if len(good) < 2:
        return
    order = np.full(len(ledger.status), -1)
    order[good] = np.arange(len(good))
    if len(plan.lags) == 1:
        added = np.zeros((len(good), 2, 2))
        for (i, j), covariance in zip(order[pairs].tolist(), covariances, strict=True):
            added[j] = added[i] + covariance
        for n, number in enumerate(good):
            ledger.covariances[number] = added[n]
        return
    path = solve(order[pairs], moves, covariances, len(good))
    for n, number in enumerate(good):
        x, y = path.positions[n].tolist()
        ledger.places[number], ledger.covariances[number] = (x, y), path.covariances[n]
        if not math.isfinite(x):
            ledger.status[number], ledger.message[number] = "not linked", MESSAGES["not linked"]


def _pair(reference: Masked, moving: Masked, near: Array, habit: Habit, plan: Plan) -> Found:
    """Lay one frame on another: by a few steps from where it should be, or by a search."""
    height, width = reference.image.shape
    start = float(near[0]), float(near[1])
    my, mx = round(plan.border * height), round(plan.border * width)
    # the taps' own reach and the displacement shrink it further
    window = my, height - my, mx, width - mx
    end = refine(NCC, reference, moving, start, inner=window, outer=window, kernel=KERNEL)
    most = (width / 2, height / 2) if plan.max_shift is None else plan.max_shift
    mx_, my_ = most if isinstance(most, tuple) else (most, most)
    options: dict[str, Any] = {"reference_mask": reference.mask, "moving_mask": moving.mask}
    near_by = end is not None and end.arrived and abs(end.dx) <= mx_ and abs(end.dy) <= my_ and habit.allows(end.ncc)
    if near_by and end is not None and exactness(end.ncc, end.hessian, end.spread.covariance) >= EXACT:
        habit.add(end.ncc)
        return Found("converged", "converged", fit=Fit(end.dx, end.dy, end.ncc, end.spread.covariance, end.window))
    found = register(reference.image, moving.image, max_shift=plan.max_shift, **options)
    if found.success:
        habit.add(found.ncc)
    return Found(found.status, found.message, fit=Fit.of(found))


def _filled(grey: NDArray[Any]) -> Masked:
    """Return a frame in units of its spread, with its mask; what may not be used has the mean of the rest."""
    image, mask = _checks.image("frames", grey)
    return Masked(levelled(image, mask), mask)
