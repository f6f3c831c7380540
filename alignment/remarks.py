"""Remarks on a gradient check: the verdict in a sentence, the likely mistake by its name, and what limits it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .differences import EPSILON, Function, Rounding, Sweep, largest
from .judge import REACH
from .kinks import Kink
from .linecheck import LineCheck
from .mistakes import Suspect, disagreement, mistake


def summary(lines: Sequence[LineCheck], passed: bool) -> str:
    """Put the verdict into a sentence."""
    if passed:
        digits = [line.digits for line in lines if max(abs(line.analytic), abs(line.numeric)) > REACH * line.floor]
        agreement = f" and agree to {min(digits):.1f} digits or more" if digits else ""
        return f"passed: analytic and numeric slopes are equal within the floor on all {len(lines)} lines{agreement}"
    failed = ", ".join(line.name for line in lines if line.verdict == "FAIL")
    undecided = ", ".join(line.name for line in lines if line.verdict == "undecided")
    if not failed:
        return f"NOT PASSED: undecided along {undecided}"
    return f"FAILED along {failed}" + (f"; undecided along {undecided}" if undecided else "")


def likely_mistakes(
    function: Function, coordinates: Sequence[LineCheck], kinks: Sequence[Kink], scales: Mapping[str, float]
) -> tuple[str, ...]:
    """Look for a mistake with a name; at kinks against the right, the left and the mean slopes in turn."""
    numeric = np.array([line.numeric for line in coordinates])
    if not (np.isfinite(function.gradient).all() and np.isfinite(numeric).all()):
        return ()
    candidates = [numeric]
    here = {kink.line: kink for kink in kinks if kink.side != "away"}
    if here:
        sides = [
            (kink.right, kink.left, 0.5 * (kink.left + kink.right)) if (kink := here.get(line.name)) else 3 * (slope,)
            for line, slope in zip(coordinates, numeric, strict=True)
        ]
        candidates = [*np.array(sides).T, numeric]
    reach = REACH * np.array([line.floor for line in coordinates])
    names = [line.name for line in coordinates]
    suspects = [Suspect(function.gradient, candidate, reach, names, scales) for candidate in candidates]
    text = next(filter(None, map(mistake, suspects)), "") or disagreement(suspects[-1])
    return (text,) if text else ()


def limits(function: Function, lines: Sequence[LineCheck], sweeps: Sequence[Sweep], known: Rounding) -> list[str]:
    """Collect what limits the check."""
    remarks = [*known.notes, *(one.note for one in sweeps if one.note)]
    if function.refusal:
        remarks.append(f"steps were left out because the function raised {function.refusal}")
    if not remarks:
        remarks += _noise_of_value(sweeps)
    if known.gradient == 0.0:
        remarks += _noise_of_gradient(sweeps)
    return [*remarks, *_vanishing(lines), *_one_sided(lines)]


def _noise_of_value(sweeps: Sequence[Sweep]) -> list[str]:
    """Say how far the value scatters, if float64 does not explain it."""
    noise, rounding = max(one.noise for one in sweeps), EPSILON * max(largest(one.values) for one in sweeps)
    if not noise > 1e3 * rounding > 0.0:
        return []
    return [
        f"the value scatters by {noise:.1e}, {noise / rounding:.1g} times the rounding of float64: it is noisy, or "
        f"computed with fewer digits somewhere inside (float32?)"
    ]


def _noise_of_gradient(sweeps: Sequence[Sweep]) -> list[str]:
    """Say how far the analytic gradient scatters, if float64 does not explain it."""
    noise, steepest = max(one.slope_noise for one in sweeps), max(largest(one.slopes) for one in sweeps)
    if noise <= 1e4 * EPSILON * steepest:
        return []
    return [
        f"the analytic gradient scatters by {noise:.1e} between neighbouring points, and the floor rises accordingly"
    ]


def _vanishing(lines: Sequence[LineCheck]) -> list[str]:
    """Say where a slope is too close to zero to show what is wrong with it."""
    vanishing = [line for line in lines if max(abs(line.numeric), line.abs_error) <= REACH * line.floor < math.inf]
    if len(vanishing) == len(lines):
        return [
            "the gradient vanishes here within the floor, so that a wrong sign, factor or order would leave no "
            "trace; check at another point as well"
        ]
    return [
        f"{line.name}: the analytic slope {line.analytic:.3g} is zero within what the values can show"
        for line in vanishing
        if line.analytic != 0.0
    ]


def _one_sided(lines: Sequence[LineCheck]) -> list[str]:
    """Say where the function is known on one side only."""
    names = ", ".join(line.name for line in lines if line.stencil in ("right", "left"))
    return [f"one-sided differences were used along {names}; their errors fall with order 1"] if names else []
