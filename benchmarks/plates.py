"""Real plates, and the same ones made harder: right, wrong and sure of it, or honestly not converged?

    python benchmarks/plates.py FOLDER [--only NAME ...] [--variants NAME ...] [--json FILE]

FOLDER holds scans of plates. For the nine whose displacements were read independently, what is right is known; any
other plate is compared with what was found on its own unaltered scan, so that the table says whether the alteration
changed the answer. A displacement is right within 0.5 px on a scan of up to 2000 rows, 1.5 px on a larger one (2 px on
emir.jpg, which nobody reads better), in proportion on a scan that was scaled up, or within three of its own standard
errors. The exit code is 1 if any wrong answer was called converged, or fewer than 95 % are right.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from tqdm import tqdm

import alignment

Image = NDArray[Any]
Moves = dict[str, NDArray[np.float64]]

CHANNELS = ("blue", "green", "red")
# moves (dy, dx) to apply to green and to red to lay them on blue, exposures being thirds of floor(H / 3) rows
READ = {
    "00125v.jpg": ((5.07, 1.91), (9.58, 1.08)),
    "00149v.jpg": ((4.02, 1.90), (9.02, 1.75)),
    "00153v.jpg": ((7.07, 2.76), (14.55, 4.08)),
    "00351v.jpg": ((3.82, 0.62), (12.96, 1.18)),
    "00398v.jpg": ((5.22, 2.74), (11.15, 3.92)),
    "01112v.jpg": ((0.04, -0.07), (5.25, 1.19)),
    "emir.jpg": ((49.0, 23.6), (107.2, 39.3)),
    "harvesters.png": ((59.5, 17.5), (124.2, 14.4)),
    "icon.png": ((41.7, 16.8), (89.7, 22.5)),
}
# each exposure's damage is its own
BLOT = 40


class Plate(NamedTuple):
    """A scan, and where on it the content of each channel lies against that of green, in pixels (x, y)."""

    scan: Image
    moves: Moves
    order: str = "bgr"
    scale: float = 1.0


Variant = Callable[[Plate, np.random.Generator], Plate]


def as_it_is(plate: Plate, rng: np.random.Generator) -> Plate:
    """The plate itself."""
    return plate


def rotated(plate: Plate, rng: np.random.Generator) -> Plate:
    """Turned by 180 degrees: red is first."""
    return plate._replace(
        scan=np.ascontiguousarray(plate.scan[::-1, ::-1]), moves={c: -m for c, m in plate.moves.items()}, order="rgb"
    )


def inverted(plate: Plate, rng: np.random.Generator) -> Plate:
    """A negative."""
    return plate._replace(scan=white(plate.scan) - plate.scan)


def sixteen_bit(plate: Plate, rng: np.random.Generator) -> Plate:
    """With 16 bits."""
    return plate._replace(scan=np.rint(fraction(plate.scan) * 65535).astype(np.uint16))


def in_colour(plate: Plate, rng: np.random.Generator) -> Plate:
    """Scanned in colour, with a tint."""
    tint = np.array([1.0, 0.96, 0.9], np.float32)
    return plate._replace(scan=like(fraction(plate.scan)[..., None] * tint, plate.scan))


def wider(plate: Plate, rng: np.random.Generator) -> Plate:
    """With a tenth more paper on every side."""
    height, width = plate.scan.shape
    paper = np.quantile(plate.scan[:: max(1, height // 500)], 0.99).astype(plate.scan.dtype)
    return plate._replace(scan=np.pad(plate.scan, ((height // 10,) * 2, (width // 10,) * 2), constant_values=paper))


def cropped(plate: Plate, rng: np.random.Generator) -> Plate:
    """Cut by three per cent on every side."""
    y, x = (round(0.03 * size) for size in plate.scan.shape)
    return plate._replace(scan=plate.scan[y:-y, x:-x])


def jpeg(plate: Plate, rng: np.random.Generator) -> Plate:
    """Compressed as a JPEG of quality 30."""
    buffer = io.BytesIO()
    Pillow.fromarray(np.rint(fraction(plate.scan) * 255).astype(np.uint8)).save(buffer, "JPEG", quality=30)
    return plate._replace(scan=np.asarray(Pillow.open(buffer)))


def half(plate: Plate, rng: np.random.Generator) -> Plate:
    """At half the size."""
    return scaled(plate, 0.5)


def larger(plate: Plate, rng: np.random.Generator) -> Plate:
    """At one and a half times the size."""
    return scaled(plate, 1.5)


def noisy(plate: Plate, rng: np.random.Generator) -> Plate:
    """With noise of 0.05."""
    noise = rng.normal(0, 0.05, plate.scan.shape).astype(np.float32)
    return plate._replace(scan=like(fraction(plate.scan) + noise, plate.scan))


def faded(number: int) -> Variant:
    """Return the variant with one exposure at a third of its contrast."""

    def variant(plate: Plate, rng: np.random.Generator) -> Plate:
        scan, third = plate.scan.copy(), len(plate.scan) // 3
        part = scan[number * third : (number + 1) * third]
        part[:] = like(fraction(part).mean() + (fraction(part) - fraction(part).mean()) / 3, part)
        return plate._replace(scan=scan)

    return variant


def blotted(plate: Plate, rng: np.random.Generator) -> Plate:
    """With a black blot of 40 x 40 pixels in one exposure."""
    scan = plate.scan.copy()
    y, x = place(scan.shape, rng)
    scan[y : y + BLOT, x : x + BLOT] = 0
    return plate._replace(scan=scan)


def scratched(plate: Plate, rng: np.random.Generator) -> Plate:
    """With a white scratch across 40 x 40 pixels in one exposure."""
    scan = plate.scan.copy()
    y, x = place(scan.shape, rng)
    for n in range(BLOT):
        scan[y + n, x + n : x + n + 4] = white(scan)
    return plate._replace(scan=scan)


VARIANTS: dict[str, Variant] = {
    "as it is": as_it_is,
    "rotated": rotated,
    "inverted": inverted,
    "16 bit": sixteen_bit,
    "colour": in_colour,
    "wider": wider,
    "cropped": cropped,
    "jpeg 30": jpeg,
    "half": half,
    "150 %": larger,
    "noise": noisy,
    "faded 1": faded(0),
    "faded 2": faded(1),
    "faded 3": faded(2),
    "blot": blotted,
    "scratch": scratched,
}


def white(scan: Image) -> Any:
    """Return the largest level."""
    return scan.dtype.type(np.iinfo(scan.dtype).max)


def fraction(scan: Image) -> Image:
    """Return the levels in [0, 1]."""
    return scan.astype(np.float32) / float(white(scan))


def like(levels: Image, scan: Image) -> Image:
    """Return levels in [0, 1] in the dtype of a scan."""
    return np.rint(levels.clip(0, 1) * float(white(scan))).astype(scan.dtype)


def place(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int]:
    """Return a corner in the inner part of one of the exposures."""
    third = shape[0] // 3
    y = int(rng.integers(3)) * third + int(rng.uniform(0.25, 0.75) * third) - BLOT // 2
    return y, int(rng.uniform(0.25, 0.75) * shape[1]) - BLOT // 2


def scaled(plate: Plate, scale: float) -> Plate:
    """Return a plate at another size."""
    height, width = plate.scan.shape
    size = round(width * scale), round(height * scale)
    scan = np.asarray(Pillow.fromarray(plate.scan).resize(size, Pillow.Resampling.LANCZOS))
    factor = np.array([size[0] / width, size[1] / height])
    return plate._replace(scan=scan, moves={c: m * factor for c, m in plate.moves.items()}, scale=scale)


def read_by_people(name: str, shape: tuple[int, ...]) -> Moves:
    """Return where red and blue lie against green, as published."""
    third = shape[0] // 3
    places = {"blue": np.zeros(2)}
    for n, (channel, (dy, dx)) in enumerate(zip(("green", "red"), READ[name], strict=True), 1):
        places[channel] = np.array([-dx, n * third - dy])
    return {channel: places[channel] - places["green"] for channel in ("red", "blue")}


def on_the_plate(made: alignment.Colorization) -> Moves:
    """Return where red and blue lie against green, as found."""
    top, _, left, _ = made.exposures["green"]
    return {
        c: np.array([made.exposures[c][2] - left + r.dx, made.exposures[c][0] - top + r.dy])
        for c, r in made.registrations.items()
    }


def judged(name: str, plate: Plate, made: alignment.Colorization) -> tuple[str, float]:
    """Return "right", "wrong" (and called converged) or "not converged", and the worst error in pixels."""
    tolerance = (0.5 if len(plate.scan) / plate.scale <= 2000 else 2.0 if name == "emir.jpg" else 1.5) * max(
        1.0, plate.scale
    )
    found = on_the_plate(made)
    errors = {c: np.abs(found[c] - plate.moves[c]) for c in found}
    right = all(
        (e <= np.maximum(tolerance, 3 * np.array(made.registrations[c].stderr))).all() for c, e in errors.items()
    )
    worst = max(float(e.max()) for e in errors.values())
    return ("right" if right and made.success else "wrong" if made.success else "not converged"), worst


def outcomes(paths: list[Path], variants: list[str]) -> Iterator[dict[str, Any]]:
    """Colour every plate in every variant."""
    for path in tqdm(paths, unit="plate", disable=None):
        scan = iio.imread(path)
        scan = scan if scan.ndim == 2 else np.rint(scan[..., :3].mean(axis=2)).astype(scan.dtype)
        known = path.name in READ
        moves = read_by_people(path.name, scan.shape) if known else on_the_plate(alignment.colorize(scan))
        plate = Plate(scan, moves)
        for name in variants:
            rng = np.random.default_rng([len(path.name), *name.encode()])
            altered = VARIANTS[name](plate, rng)
            start = time.perf_counter()
            made = alignment.colorize(altered.scan, order=altered.order)
            seconds = time.perf_counter() - start
            verdict, error = judged(path.name, altered, made)
            yield {
                "plate": path.name, "variant": name, "verdict": verdict, "error": round(error, 3),
                "seconds": round(seconds, 2), "status": made.status, "message": made.message,
                "inverted": made.inverted, "closure": [round(v, 2) for v in made.closure],
                "stderr": [round(s, 2) for r in made.registrations.values() for s in r.stderr],
                "features": [p.options["features"] for p in made.pairs.values()],
                "exposures": made.exposures, "crop": made.crop,
            }  # fmt: skip


def main() -> int:
    """Run what is asked for, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="file names that contain one of these")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    endings = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}
    paths = sorted(p for p in args.folder.iterdir() if p.suffix.lower() in endings)
    paths = [p for p in paths if not args.only or any(part in p.name for part in args.only)]
    if not paths:
        parser.error(f"{args.folder} holds no scan; give a folder with TIFF, PNG or JPEG files")
    found = []
    for outcome in outcomes(paths, args.variants):
        found.append(outcome)
        mistaken = outcome["inverted"] != (outcome["variant"] == "inverted")
        if outcome["verdict"] != "right" or mistaken:
            tqdm.write("  {plate}, {variant}: {verdict}, {error} px, inverted {inverted}; {message}".format(**outcome))
    print(f"{'variant':10}{'right':>7}{'wrong':>7}{'not converged':>15}{'median error':>14}{'worst':>8}{'s':>7}")
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for outcome in found:
        rows[outcome["variant"]].append(outcome)
    for name, group in [*rows.items(), ("all", found)]:
        count = Counter(o["verdict"] for o in group)
        errors, seconds = [o["error"] for o in group], float(np.median([o["seconds"] for o in group]))
        print(
            f"{name:10}{count['right']:7}{count['wrong']:7}{count['not converged']:15}{np.median(errors):14.2f}"
            f"{max(errors):8.2f}{seconds:7.2f}"
        )
    negatives = sum(o["inverted"] != (o["variant"] == "inverted") for o in found)
    print(f"negatives taken for positives or the reverse: {negatives}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    count = Counter(o["verdict"] for o in found)
    return int(count["wrong"] > 0 or count["right"] < 0.95 * len(found))


if __name__ == "__main__":
    sys.exit(main())
