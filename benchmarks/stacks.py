"""The drift of whole stacks beside other tools, and a long stack from disk, as Markdown.

    python benchmarks/stacks.py [--frames 500] [--size 512] [--noise 0.05] [--peers]
    python benchmarks/stacks.py --long 20000 --size 256 --file FOLDER/long.tif

Frames are made the way a sensor makes them, see `pairs`: each averages a finer photograph over its pixels, at a
displacement that is a whole number of fine points, so that the truth is exact and no interpolation takes place. The
path is a random walk; some frames are blank (a closed shutter: nothing but noise), some are reached by a jump. Peers
lay every frame on the first one, as their documentation shows; pystackreg's and ours share the sign, scikit-image's is
the opposite. Errors are up to where the reference lies: the noise of a single reference, which error bars count in,
moves all frames alike, so that they hold the truth more often than they say with to="first". Tools take turns in one
process; the milliseconds are the processor's, on one thread, so that a busy machine does not matter, and of
estimating, not of applying.
"""

# ruff: noqa: E402  (the environment must be set before NumPy is loaded)
from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import functools
import importlib.util
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pairs
from numpy.typing import NDArray

import alignment as al

Image = NDArray[Any]
FINE = 8  # points of the photograph in a pixel


@dataclass(frozen=True)
class Drift:
    """A stack whose path is known.

    Attributes
    ----------
    count : int
        The number of frames.
    size : int
        Height and width.
    noise : float
        Standard deviation; photographs span [0, 1].
    step : float
        Standard deviation of the random walk's steps along each axis, in pixels.
    blank, jumps : float
        The shares of frames without light, and of those that are reached by a jump of up to `jump` pixels.
    """

    count: int = 500
    size: int = 512
    noise: float = 0.05
    step: float = 0.3
    blank: float = 0.02
    jumps: float = 0.01
    jump: float = 15.0
    photograph: str = "motorcycle"
    scale: float = 1.4  # pixels of a frame over those of the photograph
    seed: int = 0

    def path(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the displacements (dx, dy) of all frames, and which of them are blank."""
        rng = np.random.default_rng([self.seed, 1])
        steps = rng.normal(0, self.step, (self.count, 2))
        order = 1 + rng.permutation(self.count - 1)
        blank = np.zeros(self.count, bool)
        n = round(self.blank * self.count)
        blank[order[:n]] = True
        jumping = order[n : n + round(self.jumps * self.count)]
        steps[jumping] += rng.uniform(-self.jump, self.jump, (len(jumping), 2))
        steps[0] = 0
        path = np.zeros((self.count, 2))
        for number in range(1, self.count):  # the stage pulls back, so that a long walk stays in the photograph
            path[number] = 0.98 * path[number - 1] + steps[number]
        return np.round(path * FINE) / FINE, blank

    def frames(self) -> Iterator[NDArray[np.float32]]:
        """Yield the frames."""
        path, blank = self.path()
        rng = np.random.default_rng([self.seed, 2])
        series = pairs._series(self.photograph, "grey")
        height, width = series.shape
        room = [(n * self.scale * FINE - self.size * FINE) / 2 for n in (height, width)]
        if np.abs(path).max() * FINE > min(room):
            raise SystemExit(
                f"the path leaves the photograph: {np.abs(path).max():.0f} px, room {min(room) / FINE:.0f}"
            )

        @functools.cache
        def down(dy: float) -> NDArray[np.float32]:
            rows = pairs._averages(height, round(room[0] - dy * FINE), self.size, FINE, self.scale)
            return (rows @ series).astype(np.float32)

        @functools.cache
        def across(dx: float) -> NDArray[np.float32]:
            return pairs._averages(width, round(room[1] - dx * FINE), self.size, FINE, self.scale).T.astype(np.float32)

        dark_frame = np.full((self.size, self.size), 0.1, np.float32)
        for (dx, dy), dark in zip(path.tolist(), blank, strict=True):
            scene = dark_frame if dark else down(dy) @ across(dx)
            yield scene + np.float32(self.noise) * rng.standard_normal(scene.shape, np.float32)


def errors(found: NDArray[np.float64], truth: NDArray[np.float64], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the errors of good frames, up to where the reference itself lies."""
    error = (found - truth)[good]
    return error - np.median(error, axis=0)


def ours(stack: Image, to: str) -> tuple[NDArray[np.float64], Any]:
    """`register_stack` as it comes."""
    result = al.register_stack(stack, to=to)
    return np.stack([result.dx, result.dy], axis=1), result


def stackreg(stack: Image) -> NDArray[np.float64]:
    """pystackreg, frames on the first one."""
    from pystackreg import StackReg

    tool = StackReg(StackReg.TRANSLATION)
    matrices = tool.register_stack(stack, reference="first")
    return np.asarray(matrices[:, :2, 2])


def skimage(stack: Image) -> NDArray[np.float64]:
    """scikit-image's phase correlation, not normalised, to 1/100 px: the better of its settings on noisy frames."""
    from skimage.registration import phase_cross_correlation

    moves = [phase_cross_correlation(stack[0], frame, upsample_factor=100, normalization=None)[0] for frame in stack]
    return -np.array(moves)[:, ::-1]


def beside(drift: Drift, peers: bool) -> None:
    """Print accuracy, flags, coverage and time."""
    path, blank = drift.path()
    stack = np.stack(list(drift.frames()))
    good = ~blank
    al.register_stack(stack[:20])  # compiles what there is to compile
    print(f"\n{drift.count} frames of {drift.size} x {drift.size}, noise {drift.noise}, {int(blank.sum())} blank\n")
    print("| tool | rms, px | largest, px | blank flagged | good flagged | in 95 % ellipse | CPU ms per frame |")
    print("|---|---|---|---|---|---|---|")
    for to in ("first", "mean", "previous"):
        begun = time.process_time()
        found, result = ours(stack, to)
        _row(f'alignment, to="{to}"', errors(found, path, good), time.process_time() - begun, drift, result, blank)
    if peers:
        for name, call in (("pystackreg", stackreg), ("scikit-image", skimage)):
            if importlib.util.find_spec({"scikit-image": "skimage"}.get(name, name)) is None:
                continue
            begun = time.process_time()
            found = call(stack)
            _row(name, errors(found, path, good), time.process_time() - begun, drift, None, blank)


def _row(name: str, error: NDArray[np.float64], seconds: float, drift: Drift, result: Any, blank: Any) -> None:
    """Print one line of the table."""
    flagged = missed = cover = "-"
    if result is not None:
        bad = ~result.success
        flagged, missed = f"{int((bad & blank).sum())} of {int(blank.sum())}", str(int((bad & ~blank).sum()))
        fine = result.success[~blank]
        inverse = np.linalg.inv(result.covariance[~blank][fine] + 1e-12 * np.eye(2))
        squares = np.einsum("ni,nij,nj->n", error[fine], inverse, error[fine])
        cover = f"{float((squares < 5.991).mean()):.1%}"
    rms = float(np.sqrt((error**2).mean()))
    largest = float(np.hypot(*error.T).max())
    print(
        f"| {name} | {rms:.4f} | {largest:.3f} | {flagged} | {missed} | {cover} | {seconds / drift.count * 1e3:.2f} |",
        flush=True,
    )


def long(drift: Drift, file: Path) -> None:
    """Print what a long stack on disk costs, beside reading it and one cell pass per frame."""
    import tifffile

    from alignment.frames import frames_of

    path, blank = drift.path()
    if not file.exists():
        unfinished = file.with_suffix(".part")
        with tifffile.TiffWriter(unfinished, bigtiff=True) as writer:
            for frame in drift.frames():
                levels = np.clip(frame * 65535, 0, 65535).astype(np.uint16)
                writer.write(levels, photometric="minisblack", contiguous=False, metadata=None)
        unfinished.rename(file)
    reference = next(iter(frames_of(file))).astype(np.float32)
    objective = al.NCC(reference, reference, domain="interior")
    al.register_stack([reference, reference])  # compiles what there is to compile

    def by_tifffile() -> None:
        with tifffile.TiffFile(file) as tiff:
            for page in tiff.pages:
                page.asarray()

    def by_us() -> None:
        for _ in frames_of(file):
            pass

    def cells() -> None:
        for _ in range(drift.count):
            objective.clear_cache()
            objective.cell(0, 0)

    bases = {call.__name__: processor_seconds(call) / drift.count for call in (by_tifffile, by_us, cells)}
    print("| CPU ms per frame | |\n|---|---|")
    print(
        f"| reading, by tifffile | {1e3 * bases['by_tifffile']:.3f} |\n| reading, by us | {1e3 * bases['by_us']:.3f} |"
    )
    print(f"| a cell pass | {1e3 * bases['cells']:.3f} |\n")
    over = "over tifffile and a cell | over our reading and a cell"
    print(f"| | frames | all, CPU ms | {over} | rms, px | peak MB | blank | good |")
    print("|---|---|---|---|---|---|---|---|---|")
    for to in ("first", "mean"):
        results: list[Any] = []
        seconds = processor_seconds(functools.partial(_keep, results, file, to)) / drift.count
        result = results[0]
        found = np.stack([result.dx, result.dy], axis=1)
        rms = float(np.sqrt((errors(found, path, ~blank & result.success) ** 2).mean()))
        cells_ = (
            f'to="{to}"', f"{drift.count}", f"{seconds * 1e3:.3f}",
            f"{seconds / (bases['by_tifffile'] + bases['cells']):.2f}",
            f"{seconds / (bases['by_us'] + bases['cells']):.2f}", f"{rms:.4f}",
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f}",
            f"{int((~result.success & blank).sum())} of {int(blank.sum())}",
            f"{int((~result.success & ~blank).sum())}",
        )  # fmt: skip
        print("| " + " | ".join(cells_) + " |", flush=True)


def processor_seconds(call: Callable[[], None], rounds: int = 3) -> float:
    """Return the median of some rounds."""
    taken = []
    for _ in range(rounds):
        begun = time.process_time()
        call()
        taken.append(time.process_time() - begun)
    return statistics.median(taken)


def _keep(results: list[Any], file: Path, to: str) -> None:
    """Register a stack."""
    results[:] = [al.register_stack(file, to=to)]


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--photograph", default="motorcycle")
    parser.add_argument("--scale", type=float, default=1.4, help="pixels of a frame over those of the photograph")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", action="store_true", help="beside pystackreg and scikit-image")
    parser.add_argument("--long", type=int, help="frames of the stack on disk instead")
    parser.add_argument("--file", type=Path, default=Path("long.tif"), help="where that stack is, or shall be")
    args = parser.parse_args()
    drift = Drift(
        args.long or args.frames, args.size, args.noise, photograph=args.photograph, scale=args.scale, seed=args.seed
    )
    if args.long:
        long(drift, args.file)
    else:
        beside(drift, args.peers)


if __name__ == "__main__":
    main()
