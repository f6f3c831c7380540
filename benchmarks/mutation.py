"""Plant defects in the mathematics, one at a time, and see whether the test suite notices.

    python benchmarks/mutation.py                 all defects, a Markdown table, exit code 1 if one survives
    python benchmarks/mutation.py --only sums_ncc  those whose place or description contains the text
    python benchmarks/mutation.py --jobs 4

Each defect is a replacement of text inside one function of a temporary copy of the package; it must match exactly
once, or the table below no longer fits the code and the run fails. The tests run against the copy, interpreted
(NUMBA_DISABLE_JIT=1), which is quicker than compiling the kernels once more for each defect.

A defect belongs here if it changes a number that somebody could rely on, not if it changes nothing but speed.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
# which tests run against a defect in which file, the ones that are most likely to notice it first
SUITE = {
    "_kernels.py": (
        *("test_kernels.py", "test_losses.py", "test_objective.py", "test_bilinear.py", "test_laws.py"),
        *("test_descent.py", "test_exhaustive.py"),
    ),
    "bilinear.py": ("test_bilinear.py", "test_laws.py", "test_losses.py", "test_kernels.py"),
    "losses.py": ("test_losses.py", "test_objective.py", "test_laws.py", "test_kernels.py", "test_bilinear.py"),
    "objective.py": ("test_objective.py", "test_losses.py", "test_laws.py", "test_cells.py"),
    "samplers.py": ("test_losses.py", "test_laws.py", "test_samplers.py"),
    "margins.py": ("test_margins.py", "test_losses.py", "test_laws.py"),
    "sums.py": ("test_sums.py", "test_losses.py", "test_laws.py"),
    "cells.py": (
        "test_cells.py",
        "test_losses.py",
        "test_laws.py",
        "test_kernels.py",
        "test_bilinear.py",
        "test_descent.py",
    ),
    "descent.py": ("test_descent.py",),
    "exhaustive.py": ("test_exhaustive.py",),
    "tones.py": ("test_tones.py",),
    "views.py": ("test_views.py", "test_registration.py"),
    "channels.py": ("test_channels.py",),
    "comparison.py": ("test_comparison.py", "test_tones.py", "test_registration.py"),
    "arrival.py": ("test_arrival.py", "test_registration.py"),
    "gaussian.py": ("test_gaussian.py",),
    "rivals.py": ("test_rivals.py",),
}
# what several of them share
SHARED = ("scenes.py", "results.py")


class Defect(NamedTuple):
    """One replacement inside one function."""

    file: str
    place: str
    old: str
    new: str
    what: str


class Outcome(NamedTuple):
    """What became of a defect."""

    killer: str | None
    seconds: float
    trouble: str = ""


# (file, function or method): (what stands there, what is planted instead, in words)
DEFECTS: dict[tuple[str, str], list[tuple[str, str, str]]] = {
    ("_kernels.py", "interpolate"): [
        ("u_inside, l_inside = upper[y] >= 0", "u_inside, l_inside = upper[y] > 0", "first row taken for outside"),
        ("_pixel(row_l, right[x], l_inside)", "_pixel(row_l, right[x], True)", "zeros below the frame forgotten"),
        ("(last, out.shape[1])", "(last, last)", "nothing written behind the run"),
        ("if width > 0 and u_inside and l_inside", "if width > 0", "rows outside the frame read as stretches"),
    ],
    ("_kernels.py", "_pixel"): [
        ("inside and x >= 0", "inside", "zeros beside the frame forgotten"),
    ],
    ("_kernels.py", "_longest_run"): [
        ("right[x] != right[x - 1] + 1", "False", "a run goes on where its right neighbours do not"),
        ("left[x] != left[x - 1] + 1 or ", "", "a run goes on where its left neighbours do not"),
    ],
    ("_kernels.py", "_weigh_four"): [
        ("w1 * q[x] + w2 * s[x]", "w1 * s[x] + w2 * q[x]", "right and lower neighbour swapped"),
        ("w0 * p[x] +", "w0 * q[x] +", "left neighbour read twice"),
        (" + w3 * t[x]", "", "fourth neighbour forgotten"),
    ],
    ("_kernels.py", "sums_mse"): [
        ("down_left = s[x] - p[x]", "down_left = p[x] - s[x]", "sign of a slope"),
        (
            "slope_y = down_left + a * (down_right - down_left)",
            "slope_y = down_left + b * (down_right - down_left)",
            "fractions swapped in the slope along y",
        ),
        ("slope_x = q[x] + b * down_right - at_left", "slope_x = q[x] - p[x]", "slope along x of the upper row only"),
        (
            "slope_y = down_left + a * (down_right - down_left)",
            "slope_y = down_left + (1 - a) * (down_right - down_left)",
            "weight 1 - a for a",
        ),
        ("at_left + a * slope_x - target[x]", "at_left + b * slope_x - target[x]", "fractions swapped in the value"),
        ("- target[x]", "+ target[x]", "sign of the reference"),
        ("n = origin[0] + y", "n = origin[0] + y - top", "row index counted from the rectangle"),
        (
            "target = reference[y, left:right]",
            "target = reference[y, left - 1 : right - 1] if left else reference[y, left:right]",
            "reference off by a column",
        ),
        ("ey += e * slope_y", "ey += e * slope_x", "slope along x in both coordinates"),
        ("e = e if w else zero", "pass", "mask not applied to the error"),
        ("pixels[x] & cells[x]", "pixels[x]", "mask of the moving image forgotten"),
        (
            "pixels = used[y, left:right]",
            "pixels = used[y, : right - left]",
            "mask of the reference not moved to the window",
        ),
        (
            "cells = usable[n, column : column + width]",
            "cells = usable[n, :width]",
            "mask of the moving image not moved with it",
        ),
        ("count = moving.dtype.type(width)", "count = moving.dtype.type(width + 1)", "N + 1 for N"),
        ("column = origin[1] + left", "column = origin[1]", "column not counted from the rectangle"),
    ],
    ("_kernels.py", "sums_ncc"): [
        ("rectangles[k]", "rectangles[0]", "the first rectangle for each"),
        ("suv += u * v", "suv += u * u", "correlation of the moving image with itself"),
        ("svx += v * slope_x", "svx += u * slope_x", "projection on the wrong image, along x"),
        ("suy += u * slope_y", "suy += u * slope_x", "slopes swapped in the projection"),
        ("v = target[x] - v0", "v = target[x] + v0", "sign of an offset"),
        ("+ a * slope_x - u0", "+ a * slope_x", "offset of the moving image forgotten"),
        ("slope_y *= w", "pass", "mask not applied to a slope"),
        ("v *= w", "pass", "mask not applied to the reference"),
        ("count = moving.dtype.type(width)", "count = moving.dtype.type(width - 1)", "N - 1 for N"),
        (
            "at_left = p[x] + b * down_left",
            "at_left = p[x] + a * down_left",
            "fractions swapped at the left neighbours",
        ),
    ],
    ("_kernels.py", "cell_moments_mse"): [
        ("g12 += d1 * d2", "g12 += d0 * d3", "the two diagonals taken for one"),
        ("d3 = t[x] - target[x]", "d3 = t[x]", "reference forgotten at one corner"),
        ("d2 = s[x] - target[x]", "d2 = q[x] - target[x]", "two corners the same"),
        ("d1 *= w", "pass", "mask not applied at one corner"),
        ("count += w", "count += 1", "masked pixels counted"),
    ],
    ("_kernels.py", "cell_moments_ncc"): [
        ("c2 += a2 * v", "c2 += a1 * v", "two corners swapped in the correlation"),
        ("p13 += a1 * a3", "p13 += a2 * a3", "one product of two wrong corners"),
        ("s3 += a3", "s3 += a2", "the mean of a wrong corner"),
        ("svv += v * v", "svv += v", "the reference's squares not squared"),
        ("v *= w", "pass", "mask not applied to the reference, in the cell"),
    ],
    ("bilinear.py", "split"): [
        ("math.floor(displacement)", "int(displacement)", "towards zero instead of down"),
        ('fraction == 0.0 and side == "left"', "False", "the left side forgotten"),
        ("return Cell(index - 1, 1.0)", "return Cell(index - 1, 0.0)", "left cell, wrong end"),
    ],
    ("bilinear.py", "theta"): [
        ("[0.0, 1.0, dy]", "[0.0, 1.0, -dy]", "sign of dy in theta"),
    ],
    ("bilinear.py", "shift"): [
        ("x.fraction * (1.0 - y.fraction)", "(1.0 - x.fraction) * (1.0 - y.fraction)", "weight of the right neighbour"),
        (
            "np.rint(shifted.astype(np.float64) * limits.max)",
            "np.floor(shifted.astype(np.float64) * limits.max)",
            "integers cut off instead of rounded",
        ),
        ('clean = _checks.as_floating("image", original)', "pass", "what is not finite becomes 0"),
    ],
    ("bilinear.py", "_slopes"): [
        ("(-(1.0 - b), 1.0 - b, -b, b)", "(1.0 - b, -(1.0 - b), b, -b)", "sign of the slope along x"),
        ("(-(1.0 - a), -a, 1.0 - a, a)", "(-(1.0 - b), -b, 1.0 - b, b)", "fractions swapped in the slope along y"),
        ("split(dy, side=side)", "split(dy)", "side forgotten along y"),
    ],
    ("bilinear.py", "shift_gradients"): [
        ("half = clean.dtype.type(0.5)", "half = clean.dtype.type(1.0)", "the sum of both sides for their mean"),
    ],
    ("bilinear.py", "one_sided"): [
        ('("right", "left") if', '("right", "right") if', "central is right"),
    ],
    ("bilinear.py", "_interpolate"): [
        ("lower = upper", "upper = lower", "with no weight below, the row below is read"),
        ("if w1 == 0 and w3 == 0:", "if False:", "neighbours without weight are read"),
    ],
    ("bilinear.py", "_neighbours"): [
        (
            "return both[0] % length, both[1] % length",
            "return both[0] % length, both[1].clip(0, length - 1)",
            "upper neighbour not wrapped",
        ),
        (
            "both[0].clip(0, length - 1), both[1].clip(0, length - 1)",
            "both[0].clip(0, length - 1), both[1].clip(1, length)",
            "edge off by one",
        ),
        (
            "both = first, first + 1",
            "both = first, np.minimum(first + 1, length - 1)",
            "last pixel repeated instead of zeros",
        ),
        ("max(index, -length - 1)", "max(index, -length + 1)", "far displacements cut too short"),
    ],
    ("objective.py", "Objective.value_and_gradient"): [
        (
            "(dx.is_integer() or dy.is_integer())",
            "(dx.is_integer() and dy.is_integer())",
            "central only where both coordinates are integers",
        ),
        ('split(dx, side="left"), split(dy, side="left")', 'split(dx, side="left"), split(dy)', "central along x only"),
        ('split(dy, side="left"))[1]) / 2', 'split(dy, side="left"))[1])', "central not halved"),
    ],
    ("objective.py", "Objective.hessian"): [
        ("[p.ab, p.bb]", "[p.ab, p.aa]", "curvature along y is that along x"),
    ],
    ("objective.py", "Objective.landscape"): [
        ("surface[np.ix_(i, j)]", "surface[np.ix_(i[::-1], j)]", "rows of a landscape turned"),
    ],
    ("samplers.py", "Sampler.overlap"): [
        ("max(top, -before - y.whole)", "max(top, -y.whole)", "upper border row forgotten"),
        ("min(right, width + after - x.whole)", "min(right, width - 1 - x.whole)", "right border column forgotten"),
    ],
    ("samplers.py", "HatSampler._source"): [
        (
            "return self.moving.image, (y.whole, x.whole)",
            "return self.moving.image, (y.whole, -x.whole)",
            "sign of dx",
        ),
        ("(y.whole + 1, x.whole + 1)", "(y.whole + 1, x.whole)", "border not counted in the column"),
        ("bottom + y.whole < height", "bottom + y.whole <= height", "the last row's lower neighbour read from outside"),
    ],
    ("samplers.py", "HatSampler._with_border"): [
        ("np.pad(self.moving.image, 1)", 'np.pad(self.moving.image, 1, mode="edge")', "edge for zeros"),
    ],
    ("margins.py", "Margins._added_up"): [
        ("np.s_[y0:y1, x1:right],", "", "strip on the right forgotten"),
        ("np.s_[top:y0, left:right],", "np.s_[top:y0, x0:x1],", "corners outside forgotten"),
        ("levels = levels[used[strip] != 0]", "pass", "mask forgotten outside"),
        (".astype(np.float64) - self._offset", ".astype(np.float64)", "offset forgotten outside"),
    ],
    ("samplers.py", "Sampler._masks"): [
        ("constant_values=1", "constant_values=0", "zeros outside the frame masked"),
    ],
    ("samplers.py", "HatSampler.__init__"): [
        ("wide[:-1, :-1] & wide[1:, :-1] &", "wide[:-1, :-1] &", "one corner's mask forgotten"),
    ],
    ("losses.py", "MSE._from_sums"): [
        ("2 * ex / n", "ex / n", "factor 2 forgotten"),
        ("2 * ey / n", "2 * ey", "1 / N forgotten in one coordinate"),
        ("np.array([2 * ex / n, 2 * ey / n])", "np.array([2 * ey / n, 2 * ex / n])", "coordinates swapped"),
        ("n += margin.n", "n += 0 if n else margin.n", "border not counted, direct"),
        ("(margin.second + ee)", "ee", "border term forgotten, direct"),
    ],
    ("losses.py", "MSE._shares"): [
        ("+ margin.n", "", "border not counted in the shares"),
    ],
    ("losses.py", "MSE._moments"): [
        ("np.full((4, 4), squares)", "np.zeros((4, 4))", "border term forgotten, in cells"),
        ("count += sums[10]", "count = sums[10]", "border not counted, in cells"),
    ],
    ("losses.py", "NCC._from_sums"): [
        ("return -float(", "return float(", "correlation for its negative"),
        ("total + self._only_zeros(margin)", "total", "border forgotten"),
    ],
    ("losses.py", "NCC._slopes"): [
        ("c.rho * towards_a - towards_b", "-towards_b", "projection forgotten"),
        ("c.rho * towards_a - towards_b", "-c.rho * towards_a - towards_b", "sign of the projection"),
        ("c.rho * towards_a - towards_b", "towards_b - c.rho * towards_a", "ascent for descent"),
        ("c.rho * towards_a - towards_b", "towards_a - towards_b", "projection without its coefficient"),
        ("sums[:, 9:11] - c.mean_v * slopes", "sums[:, 9:11]", "mean of the reference forgotten in the gradient"),
        ("sums[:, 7:9] - c.mean_u * slopes", "sums[:, 7:9]", "mean of the moving image forgotten in the gradient"),
        ("/ c.var_a\n", "/ c.var_b\n", "wrong variance in the projection"),
        ("slopes = sums[:, 5:7]", "slopes = sums[:, 6:4:-1]", "coordinates swapped in a mean"),
    ],
    ("sums.py", "Centred.of"): [
        ("suv - su * sv / n", "suv", "means forgotten in rho"),
        ("suu - su * su / n", "suu", "mean forgotten in a variance"),
    ],
    ("sums.py", "Centred.rho"): [
        ("(sqrt(self.var_a) * sqrt(self.var_b))", "sqrt(self.var_a)", "one norm for two"),
    ],
    ("_kernels.py", "_loss_in_cell"): [
        ("ca - c * va / (2 * v)", "ca", "projection forgotten along a, in compiled steps"),
        ("max(v, 0.0)", "v", "a squared error below zero, in compiled steps"),
        ("if not v > floor", "if not v > 0", "rounding taken for structure, in compiled steps"),
    ],
    ("_kernels.py", "_remembered_step"): [
        ("constants[1] * memory[i] - constants[0] * gradient", "-constants[0] * gradient", "momentum forgotten"),
        ("memory[i] / (1 - beta1 ** memory[4])", "memory[i]", "Adam's mean not corrected for its start"),
        ("(np.sqrt(v_hat) + epsilon)", "np.sqrt(v_hat + epsilon)", "Adam's epsilon under the root"),
        ("(1 - beta2) * gradient * gradient", "(1 - beta2) * gradient", "Adam's square forgotten"),
    ],
    ("_kernels.py", "descend_in_cell"): [
        ("scale[1] * place[3]", "scale[0] * place[3]", "units of x along y"),
        ("memory[4] += 1", "memory[4] += 2", "steps counted twice"),
        ("if place[4] < tolerance", "if place[4] > tolerance", "the tolerance turned round"),
        ("(upper and a == 1)", "(lower and a == 1)", "the right border given to the wrong cell"),
    ],
    ("descent.py", "_CellByCell.go_on"): [
        ("        self.left = False\n", "", "a border crossed twice"),
        ("math.inf if self.left else", "", "a step out of the cell judged before it is evaluated"),
    ],
    ("cells.py", "MomentsNCC.polynomials"): [
        ("[c2, c3, 0.0]", "[c2, -c3, 0.0]", "mixed coefficient of the compiled loss"),
    ],
    ("tones.py", "tone_curve"): [
        ("max(slope, 0.0) ** 2", "slope**2", "a falling line taken for gain"),
        ("min()), float(A.max())", "max()), float(A.max())", "all levels taken for the largest"),
    ],
    ("tones.py", "ToneCurve.__call__"): [
        ("np.clip(image.image, *self.range)", "image.image", "levels that were not seen turned too"),
    ],
    ("tones.py", "_seen"): [
        ("used &= reference.mask[inside] != 0", "pass", "hidden pixels of the reference looked at"),
        ("_laid(moving.image, at)", "moving.image", "the displacement forgotten"),
    ],
    ("views.py", "Views.featured"): [
        ("band_pass(image, _MIDDLE_TONES)", "band_pass(image, _COARSE_TONES)", "fine structure less fine"),
    ],
    ("views.py", "usable"): [
        ("image[used != 0].mean", "image.mean", "the mean of hidden pixels too"),
    ],
    ("channels.py", "_convincing"): [
        ("if chosen <= asked", "if True", "the tiles never asked"),
    ],
    ("channels.py", "closure"): [
        ("- second.dx - across.dx", "- second.dx + across.dx", "going round the wrong way"),
    ],
    ("comparison.py", "Comparison._through_a_curve"): [
        ("range(_TURNS)", "range(1)", "curve and displacement take no turns"),
        ("if moved <= _AGREED:", "if True:", "the first curve believed"),
    ],
    ("arrival.py", "finish"): [
        ("_returned(end, seen, journey, options)", "end", "what a coarse level finds is the last word"),
    ],
    ("arrival.py", "_returned"): [
        ("known=True", "known=False", "a kernel that is lost is given no wider one"),
        ("scale * end.found.dy", "end.found.dy", "displacement not rescaled"),
    ],
    ("arrival.py", "_drowned"): [
        ("PRECISE <", "1e9 <", "the widest kernel never taken"),
        ("PRECISE <", "0 <", "the widest kernel always taken"),
        ("end.spread.like_noise and ", "", "the widest kernel taken where something moved"),
    ],
    ("gaussian.py", "_nine_of_seventeen"): [
        ("[REACH:-REACH]", "[: -2 * REACH]", "the wrong nine of seventeen"),
    ],
    ("gaussian.py", "_seventeen"): [
        ("_derivatives(sigma, 0.0)[0]", "_derivatives(sigma, fraction)[0]", "the reference's taps at a fraction"),
    ],
    ("arrival.py", "_fine"): [
        ("end.ncc >= _SHARED", "_error(end) <= PRECISE", "the level of edges chosen by its own error bar"),
    ],
    ("_kernels.py", "bound_cells"): [
        ("(8 * parts * parts)", "(32 * parts * parts)", "a bound that is too sharp"),
        ("(1 + dip / (2 * least))", "1", "a correlation bounded by its corners"),
        ("loss[y + 1, x], loss[y + 1, x + 1]", "loss[y + 1, x]", "one of four corners forgotten"),
    ],
    ("_kernels.py", "_curvature"): [
        ("s - 2 * matrix[2, 3] + t", "p - 2 * matrix[0, 1] + q", "the curvature along one of two edges"),
    ],
    ("_kernels.py", "_add_neighbours"): [
        ("sign * q[x] * s[x]", "sign * p[x] * t[x]", "one diagonal summed for both"),
        ("sums[0, x] += sign *", "sums[0, x] +=", "a row that leaves the boxes is added"),
    ],
    ("_kernels.py", "sums_of_boxes"): [
        ("sums[k, i + width - 1] - sums[k, i - 1]", "sums[k, i + width - 1]", "a column never leaves the boxes"),
        ("range(height - 1)", "range(height)", "a row more than the box has"),
    ],
    ("rivals.py", "vote"): [
        ("ballot.against > max(ballot.preferring,", "ballot.against > max(0.0,", "a minority that has the last word"),
    ],
    ("rivals.py", "_Contest.__init__"): [
        ("self.present & (there > here)", "self.present", "tiles that show both counted for the rival"),
    ],
    ("comparison.py", "Comparison._elected"): [
        ('success=False, status="ambiguous"', 'success=True, status="converged"', "what the tiles elect believed"),
        ("votes.majority.showing,", "votes.majority.showing | True,", "the others not left out"),
    ],
    ("comparison.py", "Comparison._among"): [
        ("<= _SAME_PLACE", "<= math.inf", "a descent that leads elsewhere"),
        ("used[: fine.shape[0], : fine.shape[1]] = fine", "used[:] = 1", "all pixels looked at"),
    ],
    ("_kernels.py", "correlate_rows"): [
        ("u_r * v_r - u_i * v_i", "u_r * v_r + u_i * v_i", "one of two spectra conjugated"),
        ("y + k + j, x], image", "y + k, x], image", "rows of the image that do not move"),
    ],
    ("exhaustive.py", "_parts"): [
        ("field.real, field.imag", "field.real, 0", "imaginary part dropped"),
    ],
    ("cells.py", "_descend"): [
        ("(_ROUNDING * abs(p.value) if moved < _NEAR else 0.0)", "0.0", "the last steps told by the loss"),
        ("min(max(b + step_b, 0.0), 1.0)", "b + step_b", "a step that leaves the cell"),
    ],
    ("_kernels.py", "products_of_corners"): [
        ("boxes[3, y, x + 1]", "boxes[3, y + 1, x]", "a corner's product one pixel off"),
        ("boxes[4, y, x], boxes[5, y, x]", "boxes[4, y, x], boxes[4, y, x]", "one diagonal for both"),
    ],
    ("exhaustive.py", "_Sums.masked"): [
        ("sums(U, second)", "sums(U, one)", "the reference's squares forgotten"),
    ],
    ("losses.py", "NCC._only_zeros"): [
        ("u * u * n, u * sv, svv", "u * u * n, 0, svv", "border term of the product forgotten"),
        ("u = -float(self._offsets[0])", "u = float(self._offsets[0])", "sign of the offset at the border"),
    ],
    ("losses.py", "NCC._moments"): [
        ("np.full(4, u * sv)", "np.zeros(4)", "border term of the product forgotten, in cells"),
        ("V = P - np.outer(S, S) / n", "V = P", "mean of the moving image forgotten, in cells"),
        ("C - S * sv / n", "C", "mean of the reference forgotten, in cells"),
        ("svv - sv * sv / n", "svv", "variance of the reference not centred, in cells"),
    ],
    ("cells.py", "symmetric"): [
        ("matrix.T[_UPPER] = upper", "matrix.T[_UPPER] = np.asarray(upper)[::-1]", "lower triangle in the wrong order"),
    ],
    ("cells.py", "weights"): [
        (
            "b=np.stack([a - 1, -a, 1 - a, a], axis=-1)",
            "b=np.stack([1 - a, -a, a - 1, a], axis=-1)",
            "slopes of two weights",
        ),
    ],
    ("cells.py", "MomentsNCC.at"): [
        ("c_b - c * v_b * half", "c_b", "projection forgotten along b"),
    ],
    ("cells.py", "MomentsNCC._linear"): [
        ("c0 - c1 - c2 + c3", "c0 - c1 - c2", "mixed coefficient without its corner"),
    ],
}


def planted(source: str, defect: Defect) -> str:
    """Return the source with the defect in it, or raise ValueError if it does not match exactly once."""
    lines = source.splitlines(keepends=True)
    body, path = ast.parse(source).body, defect.place.split(".")
    for name in path:
        nodes = [node for node in body if getattr(node, "name", None) == name]
        if len(nodes) != 1:
            raise ValueError(f"{defect.file} has {len(nodes)} definitions of {defect.place}")
        body = nodes[0].body
    first, last = nodes[0].lineno - 1, nodes[0].end_lineno
    skipped = 0
    if ast.get_docstring(nodes[0]) is not None:
        skipped = nodes[0].body[0].end_lineno - first
    before = "".join(lines[: first + skipped])
    inside, after = "".join(lines[first + skipped : last]), "".join(lines[last:])
    found = inside.count(defect.old)
    if found != 1:
        raise ValueError(f"{defect.file}, {defect.place}: {defect.old!r} occurs {found} times, not once")
    return before + inside.replace(defect.old, defect.new) + after


def copied(folder: Path) -> None:
    """Copy what the tests need into a folder."""
    kept = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
    shutil.copytree(ROOT / "alignment", folder / "alignment", ignore=kept)
    (folder / "tests").mkdir()
    for name in ("__init__.py", "conftest.py", *SHARED, *{test for tests in SUITE.values() for test in tests}):
        shutil.copy(ROOT / "tests" / name, folder / "tests" / name)
    shutil.copy(ROOT / "setup.cfg", folder / "setup.cfg")


def run_suite(folder: Path, file: str) -> subprocess.CompletedProcess[str]:
    """Run the tests in a folder against the package in it, up to the first failure."""
    here = {
        "NUMBA_DISABLE_JIT": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    tests = [f"tests/{name}" for name in SUITE[file]]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", *tests]
    return subprocess.run(
        command, cwd=folder, env=os.environ | here, capture_output=True, text=True, timeout=900, check=False
    )


def tried(defect: Defect | None) -> Outcome:
    """Plant a defect, or none, and return which test noticed it."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copied(folder)
        if defect is not None:
            target = folder / "alignment" / defect.file
            try:
                target.write_text(planted(target.read_text(encoding="utf-8"), defect), encoding="utf-8")
            except ValueError as error:
                return Outcome(None, 0.0, str(error))
        try:
            run = run_suite(folder, "losses.py" if defect is None else defect.file)
        except subprocess.TimeoutExpired:
            return Outcome(None, time.perf_counter() - start, "the tests did not come to an end")
    seconds = time.perf_counter() - start
    failed = re.search(r"^FAILED tests/(\S+?)(?: - .*)?$", run.stdout, re.MULTILINE)
    if run.returncode == 1 and failed:
        return Outcome(failed.group(1), seconds)
    if run.returncode == 0:
        return Outcome(None, seconds)
    # a defect that keeps the tests from running at all shows nothing about them
    return Outcome(None, seconds, f"the tests did not run: {(run.stdout + run.stderr)[-300:]}")


def main() -> int:
    """Try all defects and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only defects whose file, place or description contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at the same time")
    options = parser.parse_args()
    listed = [Defect(*place, *defect) for place, defects in DEFECTS.items() for defect in defects]
    chosen = [d for d in listed if options.only in f"{d.file} {d.place} {d.what}"]
    sound = tried(None)
    if sound.killer or sound.trouble:
        print(f"the suite fails before any defect is planted: {sound.killer or sound.trouble}", file=sys.stderr)
        return 2
    print(f"The sound package passes in {sound.seconds:.0f} s. {len(chosen)} defects:\n")
    print("| # | place | defect | killed by |\n|---|---|---|---|", flush=True)
    survivors = broken = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for number, (defect, outcome) in enumerate(zip(chosen, pool.map(tried, chosen), strict=True), start=1):
            survivors += outcome.killer is None and not outcome.trouble
            broken += bool(outcome.trouble)
            verdict = f"`{outcome.killer}`" if outcome.killer else outcome.trouble or "**survived**"
            verdict = verdict.replace("|", "\\|").replace("\n", " ")
            print(f"| {number} | `{defect.file}` {defect.place} | {defect.what} | {verdict} |", flush=True)
    print(f"\n{len(chosen) - survivors - broken} killed, {survivors} survived, {broken} could not be tried.")
    return 1 if survivors or broken else 0


if __name__ == "__main__":
    sys.exit(main())
