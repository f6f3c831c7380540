"""The error of `register` and other tools over what is possible at all, the Cramer-Rao bound, as one Markdown table.

    python benchmarks/bound.py [--pairs 208] [--noise 0 0.01 ...] [--tools NAME ...] [--photographs NAME ...]
    python benchmarks/bound.py --bias [--figure FILE] [--json FILE]

All tools see the same pairs. A cell of the first table is the root of the mean of |error|^2 / trace(bound) over the
pairs found within 0.5 px, and how many were found if not all; in the row without noise, where there is no bound, the
median error. `floor` is what no estimator can go below even if it knew the spectrum of the scene: the bound is for a
given scene and weak noise, and promises too much where the noise exceeds the scene, as in a crop of clear sky. The
next table measures the same pairs by two milder bounds, of slopes that are damped towards the finest structure: those
of a quintic spline, and those that a Gaussian of 0.8 px sees. Two more tables like these are of the pairs whose floor
is at most 1.25, whatever the tools made of them, and the last one is of one tool, photograph by photograph.

With --bias: the mean error against the fraction of a pixel, for each kernel, over the photographs within reach.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import platform
import sys
from typing import Any

import numpy as np
from pairs import PHOTOGRAPHS, Image, Pair, Setting, _averages, _series, pair, photograph, usable
from peers import Peer, installed, use_threads
from tqdm import tqdm

import alignment as al

NOISE = (0.0, 0.01, 0.02, 0.05, 0.10)
FOUND = 0.5  # px
WITHIN_REACH = 1.25  # of the bound
FRACTIONS = np.arange(9) / 8


def floor(scene: Image, noise: float) -> float:
    r"""Return the least rms error, over the bound's, of an estimator that knows the spectrum of a random scene.

    Notes
    -----
    With the power S of the scene at a frequency k and noise of variance v in both images,

    .. math:: \sum k^2 \frac{S^2}{2 S v + v^2}

    is the information on a displacement, against :math:`\sum k^2 S / 2 v` in the bound; the mean of both axes.
    """
    height, width = scene.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.fft2((scene - scene.mean()) * window)) ** 2 / (window**2).sum()
    ky, kx = 2 * np.pi * np.fft.fftfreq(height)[:, None], 2 * np.pi * np.fft.fftfreq(width)[None, :]
    v = noise**2
    ratios = [
        np.sum(k**2 * power) / (2 * v) / np.sum(k**2 * power**2 / (2 * power * v + v**2)) for k in (kx, ky)
    ]  # fmt: skip
    return float(np.sqrt(np.mean(ratios)))


def spline_bound(scene: Image, noise: float) -> float:
    r"""Return the bound of `alignment.cramer_rao` with slopes by a quintic spline instead of a series.

    Notes
    -----
    With the coefficients c of the spline, the slope at pixel n is
    :math:`[c_{n+2} - c_{n-2} + 10 (c_{n+1} - c_{n-1})] / 24` along an axis.
    """
    from scipy import ndimage

    slopes = []
    for axis in (1, 0):
        coefficients = ndimage.spline_filter1d(scene, 5, axis=axis, mode="mirror")
        weights = np.array([-1, -10, 0, 10, 1]) / 24
        slope = ndimage.correlate1d(coefficients, weights, axis=axis, mode="mirror")
        slopes.append(slope.ravel())
    information = np.array([[a @ b for b in slopes] for a in slopes])
    return float(np.sqrt(2 * noise**2 * np.trace(np.linalg.inv(information))))


def draw(clean: Pair, noise: float) -> tuple[Image, Image]:
    """Return a pair with noise in both images; the same whoever asks."""
    rng = np.random.default_rng([clean.info["seed"], clean.info["index"], round(1e6 * noise)])
    return tuple((image + rng.normal(0, noise, image.shape)).astype(np.float32) for image in clean[:2])  # type: ignore[return-value]


def measure(tools: list[Peer], clean: list[Pair], noise: float, bounds: tuple[float, float], bar: Any) -> list[Any]:
    """Ask every tool about every pair at one noise; return one record per question."""
    records = []
    for one in clean:
        reference, moving = draw(one, noise)
        possible, ratio, milder = None, None, {}
        if noise:
            scene = one.reference.astype(np.float64)
            possible, gaussian = (
                float(np.sqrt(np.trace(al.cramer_rao(scene, noise, displacement=(one.dx, one.dy), kernel=kernel))))
                for kernel in (None, al.Gaussian(0.8))
            )
            milder = {"spline": spline_bound(scene, noise), "gaussian": gaussian}
            ratio = floor(scene, noise)
        for tool in tools:
            # some tools write into the images that they are given
            answer = tool(reference.copy(), moving.copy(), bounds)
            error = float(np.hypot(answer.dx - one.dx, answer.dy - one.dy))
            records.append({
                "tool": tool.name, "noise": noise, "error": error if np.isfinite(error) else None, "bound": possible,
                "floor": ratio, "milder": milder, "found": [answer.dx, answer.dy], "truth": [one.dx, one.dy],
                "remark": answer.remark, **one.info,
            })  # fmt: skip
            bar.update()
    return records


def score(records: list[Any], bound: str | None = None) -> tuple[float, float]:
    """Return the rms error over a bound, or without noise the median error, and the share that was found."""
    found = [r for r in records if r["error"] is not None and r["error"] < FOUND]
    if not found:
        return float("nan"), 0.0
    if found[0]["bound"] is None:
        return float(np.median([r["error"] for r in found])), len(found) / len(records)
    bounds = [r["milder"][bound] if bound else r["bound"] for r in found]
    errors = np.array([r["error"] for r in found])
    return float(np.sqrt(np.mean((errors / bounds) ** 2))), len(found) / len(records)


def table(records: list[Any], tools: list[str], noises: list[float]) -> str:
    """Return the first table."""
    lines = ["| noise | pairs | bound, median | floor | " + " | ".join(tools) + " |", "|---" * (4 + len(tools)) + "|"]
    for noise in noises:
        at = [r for r in records if r["noise"] == noise]
        if not at:
            continue
        cells = []
        for tool in tools:
            value, share = score([r for r in at if r["tool"] == tool])
            lost = f" ({share:.0%} found)" if share < 1 else ""
            cells.append((f"{value:.2f}" if noise else f"{value:.5f} px") + lost)
        possible = f"{np.median([r['bound'] for r in at]):.4f} px" if noise else "-"
        least = f"{np.sqrt(np.mean([r['floor'] ** 2 for r in at])):.2f}" if noise else "-"
        lines.append(f"| {noise:g} | {len(at) // len(tools)} | {possible} | {least} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def milder_table(records: list[Any], tools: list[str], noises: list[float]) -> str:
    """Return the errors over the milder bounds."""
    lines = ["| noise | bound with slopes of | " + " | ".join(tools) + " |", "|---" * (2 + len(tools)) + "|"]
    words = {"spline": "a quintic spline", "gaussian": "a Gaussian of 0.8 px"}
    for noise in filter(None, noises):
        for bound, name in words.items():
            cells = [
                f"{score([r for r in records if r['noise'] == noise and r['tool'] == tool], bound)[0]:.2f}"
                for tool in tools
            ]
            lines.append(f"| {noise:g} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_photograph(records: list[Any], tool: str, noises: list[float]) -> str:
    """Return the table of one tool over the photographs."""
    lines = [f"| {tool} | " + " | ".join(f"{n:g}" for n in noises) + " |", "|---" * (1 + len(noises)) + "|"]
    for name in dict.fromkeys(r["photograph"] for r in records):
        cells = []
        for noise in noises:
            mine = [r for r in records if r["photograph"] == name and r["noise"] == noise and r["tool"] == tool]
            least = np.sqrt(np.mean([r["floor"] ** 2 for r in mine])) if noise else np.nan
            cells.append(f"{score(mine)[0]:.2f} (floor {least:.2f})" if noise else f"{score(mine)[0]:.5f} px")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Print the tables of errors over the bound; return the records."""
    tools, missing = installed(arguments.tools)
    tools = [tool for tool in tools if tool.name != "published (torch)"]
    setting = Setting(shape=(arguments.size, arguments.size), reach=arguments.reach)
    names = [name for name in usable(setting) if not arguments.photographs or name in arguments.photographs]
    clean = [pair(setting, n, seed=arguments.seed, names=names) for n in tqdm(range(arguments.pairs), disable=None)]
    records = []
    with tqdm(total=arguments.pairs * len(tools) * len(arguments.noise), unit="answer", disable=None) as bar:
        for noise in arguments.noise:
            records += measure(tools, clean, noise, setting.bounds, bar)
    print(
        f"{arguments.pairs} pairs of {arguments.size} x {arguments.size} px from {len(names)} photographs, up to "
        f"{arguments.reach:g} px; NumPy {np.__version__}, Python {platform.python_version()}.\n"
    )
    told = [tool.name for tool in tools]
    print(f"All photographs:\n\n{table(records, told, arguments.noise)}\n")
    print(f"The same by milder bounds:\n\n{milder_table(records, told, arguments.noise)}\n")
    near = [r for r in records if r["floor"] is None or r["floor"] <= WITHIN_REACH]
    print(f"Pairs whose floor is at most {WITHIN_REACH}:\n\n{table(near, told, arguments.noise)}\n")
    print(f"The same by milder bounds:\n\n{milder_table(near, told, arguments.noise)}\n")
    print(by_photograph(records, told[0], arguments.noise))
    for sentence in missing:
        print(f"\n{sentence}.")
    return {"answers": records}


def moved(name: str, fraction: float, scale: float, size: int) -> Pair:
    """Return a noise-free pair whose displacement is a fraction along x, and another one along y."""
    height, width = photograph(name).shape[:2]
    fine = len(FRACTIONS) - 1
    steps = round(fraction * fine), round((1 - fraction) * fine)
    first = [(int(n * scale) - size) // 2 * fine for n in (height, width)]
    columns, rows = (
        [_averages(n, start - step, size, fine, scale) for step in (0, move)]
        for n, start, move in ((width, first[1], steps[0]), (height, first[0], steps[1]))
    )
    reference, shifted = (rows[i] @ _series(name, "grey") @ columns[i].T for i in (0, 1))
    return Pair(reference, shifted, steps[0] / fine, steps[1] / fine, {"photograph": name})


def kernels() -> dict[str, dict[str, Any]]:
    """Return the options of `register` to compare: the hat, the hat less the noise's share, and the default."""
    known: dict[str, dict[str, Any]] = {"hat": {"kernel": "hat", "smooth": 0.0}}
    if "noise" in inspect.signature(al.register).parameters:
        known["hat, corrected for noise"] = {"kernel": "hat", "smooth": 0.0, "noise": "estimate"}
    known["hat, smoothed by 1 px"] = {"kernel": "hat"}
    known["default"] = {}
    return known


def bias(arguments: argparse.Namespace) -> dict[str, Any]:
    """Print the mean error at each fraction, for each kernel.

    Each noise is drawn twice, with both signs: what is linear in the noise, the scatter, cancels, and the bias stays.
    """
    noise = max(arguments.noise) if len(arguments.noise) == 1 else 0.05
    names = usable(Setting(shape=(220, 220), reach=1))
    names = [n for n in names if not arguments.photographs or n in arguments.photographs]
    # where the noise exceeds the scene, errors are too large and too skew to show a bias of thousandths of a pixel
    names = [n for n in names if floor(moved(n, 0.0, 0.85, arguments.size).reference, noise) <= WITHIN_REACH]
    options = kernels()
    errors: dict[str, list[list[float]]] = {kernel: [] for kernel in options}
    for fraction in tqdm(FRACTIONS, unit="fraction", disable=None):
        for kernel in options:
            errors[kernel].append([])
        for number in range(arguments.pairs // 2):
            one = moved(names[number % len(names)], float(fraction), 0.85, arguments.size)
            rng = np.random.default_rng([arguments.seed, number])
            drawn = [rng.normal(0, noise, one.reference.shape) for _ in range(2)]
            for kernel, chosen in options.items():
                both = [
                    al.register(one.reference + sign * drawn[0], one.moving + sign * drawn[1], max_shift=4, **chosen)
                    for sign in (1, -1)
                ]
                errors[kernel][-1].append(float(np.mean([found.dx - one.dx for found in both])))
    print(
        f"Mean error of dx at noise {noise:g}, in thousandths of a pixel, with the standard error of that mean;\n"
        f"{arguments.pairs} pairs of {arguments.size} x {arguments.size} px from {len(names)} photographs for each.\n"
    )
    print("| fraction | " + " | ".join(f"{fraction:g}" for fraction in FRACTIONS) + " | largest |")
    print("|---" * (len(FRACTIONS) + 2) + "|")
    for kernel, rows in errors.items():
        means = [1e3 * np.mean(row) for row in rows]
        spreads = [1e3 * np.std(row, ddof=1) / np.sqrt(len(row)) for row in rows]
        cells = [f"{mean:+.2f} ± {spread:.2f}" for mean, spread in zip(means, spreads, strict=True)]
        print(f"| {kernel} | " + " | ".join(cells) + f" | {np.max(np.abs(means)):.2f} |")
    if arguments.figure:
        draw_bias(errors, noise, arguments.figure)
    return {"fractions": FRACTIONS.tolist(), "noise": noise, "errors": errors}


def draw_bias(errors: dict[str, list[list[float]]], noise: float, path: str) -> None:
    """Draw the curves, and what is under a hundredth of a pixel once more, enlarged."""
    from alignment import plots

    figure = plots.new_figure(9.6, 4.4)
    axes = figure.subplots(1, 2)
    looks = zip(plots.CYCLE, "o^sDv", strict=False)
    for (kernel, rows), (colour, marker) in zip(errors.items(), looks, strict=False):
        means = FRACTIONS + np.array([np.mean(row) for row in rows])
        spread = np.array([np.std(row, ddof=1) / np.sqrt(len(row)) for row in rows])
        for ax in axes:
            plots.bias_curve(ax, FRACTIONS, means, spread=spread, label=kernel, colour=colour, marker=marker)
    axes[0].set_title(f"noise {noise:g} in both images")
    axes[1].set_title("the same, enlarged")
    axes[1].set_ylim(-0.004, 0.004)
    axes[1].axhspan(-0.002, 0.002, color="0.93", zorder=0)
    axes[0].legend(frameon=False, fontsize=9)
    figure.tight_layout()
    plots.save(figure, path, overwrite=True)


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=208, help="in each row, or at each fraction (default: 208)")
    parser.add_argument("--noise", type=float, nargs="+", default=list(NOISE), help="grey range 1 (default: 0 to 0.1)")
    parser.add_argument("--size", type=int, default=200, help="pixels along a side (default: 200)")
    parser.add_argument("--reach", type=float, default=12, help="largest displacement in pixels (default: 12)")
    parser.add_argument("--tools", nargs="+", metavar="NAME", help="parts of names; default: all that are installed")
    parser.add_argument("--photographs", nargs="+", choices=list(PHOTOGRAPHS), metavar="NAME", help="default: all")
    parser.add_argument("--bias", action="store_true", help="the mean error against the fraction of a pixel instead")
    parser.add_argument("--figure", metavar="FILE", help="with --bias: draw the curves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="for each tool that can be told (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="store every answer")
    arguments = parser.parse_args(argv)
    if importlib.util.find_spec("skimage") is None:
        print("scikit-image, which carries most of the photographs, is not installed; pip install scikit-image\n")
    use_threads(arguments.threads)
    record = bias(arguments) if arguments.bias else compare(arguments)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
