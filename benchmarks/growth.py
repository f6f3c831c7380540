"""How cost grows: time and memory against pixels, steps, search radius and frames, as Markdown and as one figure.

    python benchmarks/growth.py [--only pixels steps radius frames] [--largest] [--figure growth.png] [--json FILE]

Every point is measured in a process of its own, once the kernels have been loaded by a small call. The time is the
processor's, on one thread, so that what else the machine does matters little. Memory is what the call needs *beyond the
images that it is given*, which are subtracted, in two ways: `traced` is the peak of what Python and NumPy allocate,
exact to the byte; `resident` is by how much the process grows at its peak, in whole pages and with what compiled code
and Fourier transforms allocate beside them, known on Linux only. An exponent is the slope of a straight line through
the logarithms, over all points and over the last three, where fixed costs count less.

The images are sums of waves of many lengths and directions, sampled at displaced points: the displacement is exact, of
any size, and nothing is interpolated; independent noise is added to each.
"""

# ruff: noqa: E402  (the environment must be set before NumPy is loaded)
from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import alignment as al

Image = NDArray[Any]
MOVE = (7.3, -4.6)  # px
# of a point: enough processor time for a median, and as many calls at most
ENOUGH, MOST = 1.0, 9
STATUS = Path("/proc/self/status")


class Case(NamedTuple):
    """What a child does: a small call that loads the kernels, the call, the bytes it is given, what it found."""

    warm: Callable[[], object]
    call: Callable[[], Any]
    given: int
    found: Callable[[Any], str]


class Curve(NamedTuple):
    """One line of a panel: its name and, for each place along the axis, what a child is asked to do."""

    name: str
    jobs: dict[float, dict[str, Any]]


class Panel(NamedTuple):
    """One table and one panel of the figure."""

    title: str
    across: str
    curves: list[Curve]


def waves(shape: tuple[int, int], dx: float = 0.0, dy: float = 0.0, *, noise: float = 0.01, seed: int = 0) -> Image:
    """Return a float32 image of waves from four pixels long to a third of the frame, displaced by (dx, dy).

    A wave along any direction is a sum of two products of a row and a column, and all of them one product of matrices.
    """
    rng = np.random.default_rng(0)
    length = np.exp(rng.uniform(np.log(4), np.log(max(min(shape) / 3, 8)), 64))
    angle, phase = rng.uniform(0, 2 * np.pi, (2, 64))
    down = np.outer(np.arange(shape[0]) - dy, 2 * np.pi * np.sin(angle) / length) + phase
    across = np.outer(2 * np.pi * np.cos(angle) / length, np.arange(shape[1]) - dx)
    rows = np.concatenate([np.sin(down), np.cos(down)], axis=1).astype(np.float32)
    columns = np.concatenate([np.cos(across), np.sin(across)]).astype(np.float32)
    image = rows @ (columns * np.float32(0.15 / np.sqrt(32)))
    image += np.float32(0.5)
    draw = np.random.default_rng([seed, round(1e3 * abs(dx)), round(1e3 * abs(dy))])
    for row in range(0, shape[0], 256):
        image[row : row + 256] += np.float32(noise) * draw.standard_normal(image[row : row + 256].shape, np.float32)
    return image


def pair(pixels: float) -> tuple[Image, Image]:
    """Return a square pair of about so many pixels."""
    side = round(pixels**0.5)
    return waves((side, side)), waves((side, side), *MOVE)


def registering(pixels: float, max_shift: float | None = None, **options: Any) -> Case:
    """Register a pair."""
    images, small = pair(pixels), pair(1e4)
    return Case(
        lambda: al.register(*small, max_shift=None if max_shift is None else min(max_shift, 20), **options),
        lambda: al.register(*images, max_shift=max_shift, **options),
        sum(image.nbytes for image in images),
        lambda r: f"{r.status}, off by {np.hypot(r.dx - MOVE[0], r.dy - MOVE[1]):.4f} px",
    )


def evaluating(pixels: float) -> Case:
    """Make an objective and evaluate it and its gradient once, with the frame's border of zeros."""
    images, small = pair(pixels), pair(1e4)
    return Case(
        lambda: al.NCC(*small, evaluation="direct").value_and_gradient(0.3, 0.6),
        lambda: al.NCC(*images, evaluation="direct").value_and_gradient(0.3, 0.6),
        sum(image.nbytes for image in images),
        lambda r: "",
    )


def descending(steps: int, evaluation: str) -> Case:
    """Walk down, from a fresh objective."""
    images = al.datasets.shifted_pair(1.3, -0.7, shape=(333, 375), area=1, dtype="float32")
    reference, moving = images

    def call(count: int) -> Any:
        objective = al.NCC(reference, moving, evaluation=evaluation)
        return al.minimise(objective, al.GradientDescent(2.0), steps=count), objective.passes

    return Case(
        lambda: call(2), lambda: call(steps), 2 * reference.nbytes,
        lambda r: f"{len(r[0].trace) - 1} steps, {r[1]} passes" if evaluation == "cells" else "",
    )  # fmt: skip


def searching(radius: int) -> Case:
    """Compute the loss at all whole displacements up to a radius."""
    from alignment.search import all_lags

    images, small = pair(512**2), pair(1e4)
    return Case(
        lambda: all_lags(*small, max_shift=(4, 4)), lambda: all_lags(*images, max_shift=(radius, radius)),
        sum(image.nbytes for image in images), lambda r: "",
    )  # fmt: skip


def stacking(file: str) -> Case:
    """Register the frames of a TIFF, read one after the other."""
    small = [waves((96, 96), n / 8) for n in range(4)]
    return Case(
        lambda: al.register_stack(small), lambda: al.register_stack(file), 0,
        lambda r: f"{int(r.success.sum())} of {len(r.dx)} converged",
    )  # fmt: skip


def colorizing(file: str) -> Case:
    """Turn the scan of a plate, which is in memory, into a colour photograph."""
    plate, small = al.read_image(file), al.datasets.demo_plate().plate
    return Case(lambda: al.colorize(small), lambda: al.colorize(plate), plate.nbytes, lambda r: r.message)


def commanding(file: str) -> Case:
    """Do the same by the command, from file to file."""
    from alignment.cli import main as command

    folder = Path(file).parent
    small = folder / "small.tif"
    al.write_image(small, al.datasets.demo_plate().plate, overwrite=True)

    def call(source: str | Path) -> int:
        return command(["colorize", str(source), "-o", str(folder / "made.tif"), "--force", "--overwrite", "-q"])

    return Case(lambda: call(small), lambda: call(file), 0, lambda r: f"exit code {r}")


CASES: dict[str, Callable[..., Case]] = {
    "registering": registering,
    "evaluating": evaluating,
    "descending": descending,
    "searching": searching,
    "stacking": stacking,
    "colorizing": colorizing,
    "commanding": commanding,
}


def write_frames(file: Path, count: int) -> None:
    """Write drifting frames, a page each."""
    import tifffile

    path = np.cumsum(np.random.default_rng(1).normal(0, 0.2, (count, 2)), axis=0).clip(-15, 15)
    with tifffile.TiffWriter(file) as writer:
        for number, (dx, dy) in enumerate(path.tolist()):
            levels = np.clip(waves((96, 96), dx, dy, seed=number), 0, 1) * 65535
            writer.write(levels.astype(np.uint16), photometric="minisblack", contiguous=False, metadata=None)


def panels(largest: bool, folder: Path, only: list[str]) -> Iterator[Panel]:
    """Yield what is to be measured."""
    if "pixels" in only:
        sizes = [1e4, 1e5, 1e6, 1e7, *([1e8] if largest else [])]
        curves = [
            Curve("register", {n: {"what": "registering", "pixels": n} for n in sizes}),
            Curve("NCC, made and evaluated", {n: {"what": "evaluating", "pixels": n} for n in sizes}),
        ]
        yield Panel("Pixels of a pair (float32, square)", "pixels", curves)
    if "steps" in only:
        counts = (10, 30, 100, 300, 1000, 3000)
        curves = [
            Curve(name, {n: {"what": "descending", "steps": n, "evaluation": how} for n in counts})
            for name, how in (("by cells", "cells"), ("a pass for each step", "direct"))
        ]
        yield Panel("Steps of plain descent (NCC, 333 x 375)", "steps", curves)
    if "radius" in only:
        radii = (4, 8, 16, 32, 64, 128, 250)
        curves = [
            Curve(
                "register", {n: {"what": "registering", "pixels": 512**2, "max_shift": max(n, 8)} for n in radii[1:]}
            ),
            Curve("all_lags", {n: {"what": "searching", "radius": n} for n in radii}),
        ]
        yield Panel("Search radius (512 x 512)", "radius, px", curves)
    if "frames" in only:
        jobs = {}
        for count in (20, 60, 200, 600, 2000):
            file = folder / f"{count}.tif"
            write_frames(file, count)
            jobs[float(count)] = {"what": "stacking", "file": str(file)}
        yield Panel("Frames of 96 x 96 px, read from a TIFF one by one", "frames", [Curve("register_stack", jobs)])


def in_a_child(job: dict[str, Any]) -> dict[str, Any]:
    """Measure in a process of its own."""
    home = str(Path(al.__file__).parents[1])
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(job)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{job} failed:\n{done.stderr}")
    return dict(json.loads(done.stdout))


def measure(what: str, **options: Any) -> dict[str, Any]:
    """Measure one call in this process."""
    case = CASES[what](**options)
    case.warm()
    gc.collect()
    before = resident(forget_peak=True)
    begun = time.process_time()
    result = case.call()
    first = time.process_time() - begun
    peak = resident(peak=True)
    times = []
    while first < ENOUGH and len(times) < MOST and sum(times) < ENOUGH:
        begun = time.process_time()
        case.call()
        times.append(time.process_time() - begun)
    tracemalloc.start()
    case.call()
    traced = tracemalloc.get_traced_memory()[1]
    return {
        "seconds": float(np.median(times or [first])),
        "traced": traced,
        "resident": None if before is None or peak is None else max(peak - before, 0),
        "peak": peak,
        "given": case.given,
        "found": case.found(result),
    }


def resident(*, peak: bool = False, forget_peak: bool = False) -> int | None:
    """Return the bytes that this process occupies, or has at its peak; None where the system does not say.

    Not by `resource`: a child inherits the peak of the process that started it.
    """
    if not STATUS.exists():
        return None
    if forget_peak:
        Path("/proc/self/clear_refs").write_text("5")
    name = "VmHWM:" if peak else "VmRSS:"
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def exponent(x: list[float], y: list[float]) -> float:
    """Return the slope of a straight line through the logarithms, NaN for less than two positive points."""
    kept = [(a, b) for a, b in zip(x, y, strict=True) if b > 0]
    if len(kept) < 2:
        return float("nan")
    logs = np.log(kept)
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def bytes_in_words(count: float | None) -> str:
    """Return a size for a table."""
    if count is None:
        return "-"
    return f"{count / 1e6:.3g} MB" if count >= 1e5 else f"{count / 1e3:.3g} kB"


def seconds_in_words(seconds: float) -> str:
    """Return a time for a table."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def run(panel: Panel) -> dict[str, Any]:
    """Measure a panel and print its table."""
    print(f"\n**{panel.title}**\n\n| {panel.across} | | time | traced | resident | found |\n|---|---|---|---|---|---|")
    record: dict[str, Any] = {}
    for curve in panel.curves:
        points = record[curve.name] = {}
        for x, job in curve.jobs.items():
            point = points[x] = in_a_child(job)
            cells = seconds_in_words(point["seconds"]), *(bytes_in_words(point[n]) for n in ("traced", "resident"))
            print(f"| {x:g} | {curve.name} | {' | '.join(cells)} | {point['found']} |", flush=True)
    print("\n| exponent | | time | time, last three | traced | traced, last three |\n|---|---|---|---|---|---|")
    for name, points in record.items():
        cells_ = [f"{value:.2f}" for value in exponents(points)]
        print(f"| of the {panel.across.split(',')[0]} | {name} | {' | '.join(cells_)} |", flush=True)
    return record


def exponents(points: dict[float, dict[str, Any]]) -> list[float]:
    """Return the exponents of time and memory, each over all points and over the last three."""
    x = list(points)
    found = []
    for what in ("seconds", "traced"):
        y = [float(point[what]) for point in points.values()]
        found += [exponent(x, y), exponent(x[-3:], y[-3:])]
    return found


def draw(records: list[tuple[Panel, dict[str, Any]]], file: str) -> None:
    """Draw time and memory of each panel, on logarithmic scales that span as many powers of ten."""
    from alignment import plots
    from alignment.plots.style import SIZES, name_axes

    figure = plots.new_figure(6.6 * min(len(records), 2), 4.9 * ((len(records) + 1) // 2))
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    for number, (panel, record) in enumerate(records):
        ax = figure.add_subplot((len(records) + 1) // 2, min(len(records), 2), number + 1)
        memory = ax.twinx()
        for (name, points), line in zip(record.items(), ("-", "--"), strict=False):
            all_time, _, all_memory, _ = exponents(points)
            seconds, peaks = ([point[what] for point in points.values()] for what in ("seconds", "traced"))
            style = {"linestyle": line, "markersize": 6}
            label = f"{name}: time, exponent {all_time:.2f}"
            ax.loglog(list(points), seconds, "o", color=plots.CYCLE[0], label=label, **style)
            label = f"{name}: memory, exponent {all_memory:.2f}"
            memory.loglog(list(points), peaks, "s", color=plots.CYCLE[1], label=label, **style)
        name_axes(ax, panel.across, "processor time, s")
        ax.set_title(panel.title, fontsize=SIZES["title"] - 1, pad=8)
        memory.set_ylabel("peak memory beyond the images, bytes", fontsize=SIZES["label"] - 1, color=plots.CYCLE[1])
        memory.tick_params(which="both", labelsize=SIZES["tick"], colors=plots.CYCLE[1])
        memory.spines["top"].set_visible(False)
        ax.yaxis.label.set_color(plots.CYCLE[0])
        same_decades(ax, memory)
        handles = [*ax.get_lines(), *memory.get_lines()]
        memory.legend(handles, [h.get_label() for h in handles], fontsize=9.5, loc="upper left", framealpha=1)
    plots.save(figure, file, overwrite=True)


def same_decades(*axes: Any) -> None:
    """Let axes span as many powers of ten, so that slopes can be compared, with room above the lines for names."""
    spans = []
    for ax in axes:
        values = np.concatenate([line.get_ydata() for line in ax.get_lines()])
        spans.append((values.min(), values.max()))
    decades = max(1.5, *(np.log10(high / low) for low, high in spans))
    for ax, (low, _) in zip(axes, spans, strict=True):
        ax.set_ylim(low / 1.5, low / 1.5 * 10 ** (1.45 * decades + 0.3))


def main(argv: list[str] | None = None) -> int:
    """Measure, print, draw and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = ["pixels", "steps", "radius", "frames"]
    parser.add_argument("--only", nargs="+", choices=everything, default=everything, metavar="PANEL")
    parser.add_argument("--largest", action="store_true", help="go up to 10^8 pixels, which takes several gigabytes")
    parser.add_argument("--figure", metavar="FILE", help="a PNG, PDF or SVG file, replaced if it is there")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.child:
        print(json.dumps(measure(**json.loads(arguments.child))))
        return 0
    records = []
    with tempfile.TemporaryDirectory() as folder:
        for panel in tqdm(panels(arguments.largest, Path(folder), arguments.only), unit="panel", disable=None):
            records.append((panel, run(panel)))
    if arguments.figure:
        draw(records, arguments.figure)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({panel.title: record for panel, record in records}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
