"""Whether the error bars of `register` are true: how often its 68 % and 95 % ellipses hold the truth.

    python benchmarks/errorbars.py [--pairs 2000] [--jobs 2] [--only WORD ...] [--photographs] [--json FILE]

A cell is one kind of pair: what is minimised, sharp or smooth content, equal or unequal noise in the two images, with
or without masks, a square or an elongated frame. Each pair is drawn anew: one of `--scenes` pairs of area-averaged
photographs, and fresh noise in both images. An answer more than 0.5 px off is counted as lost and not as outside: it
is another minimum, which is the status's to tell, and the share lost is in the table.

z is the error in units of the error bar, the root of half of e'C^-1 e; its rms over the pairs would be 1. Where
the ellipses hold too little although the rms is near 1, the bars vary too much from pair to pair; where `z, median`
is above 1, all are too short.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from pairs import Image, Pair, Setting, pair, usable
from tqdm import tqdm

import alignment as al
from alignment.pyramid import Masked, smooth

LEVELS = (0.68, 0.95)
ALLOWED = {0.68: (0.66, 0.70), 0.95: (0.93, 0.97)}
FRAMES = {"square": (200, 200), "elongated": (120, 330)}
NOISES = {"equal": (0.03, 0.03), "unequal": (0.015, 0.05)}
LOST = 0.5  # px
# pixels beside the frame, so that smooth content is not smoothed across a border
_BESIDE = 10


class Cell(NamedTuple):
    """One kind of pair."""

    loss: str
    content: str
    noise: str
    masks: str
    frame: str

    def __str__(self) -> str:
        """Return its line's beginning in the table."""
        return " | ".join(self)


CELLS = [
    Cell(*words)
    for words in itertools.product(("ncc", "mse"), ("sharp", "smooth"), NOISES, ("whole", "masked"), FRAMES)
]


@cache
def clean(frame: str, content: str, number: int, seed: int) -> Pair:
    """Return a pair without noise."""
    height, width = FRAMES[frame]
    setting = Setting(shape=(height + 2 * _BESIDE, width + 2 * _BESIDE), reach=8)
    one = pair(setting, number, seed=seed, names=_names(setting))
    inside = np.s_[_BESIDE:-_BESIDE, _BESIDE:-_BESIDE]
    images = [np.ascontiguousarray(image.astype(np.float64)) for image in one[:2]]
    if content == "smooth":
        images = [smooth(Masked(image), 2.0).image for image in images]
    return Pair(images[0][inside], images[1][inside], *one[2:])


@cache
def _names(setting: Setting) -> list[str]:
    return usable(setting)


def discs(shape: tuple[int, ...], rng: np.random.Generator) -> Image:
    """Return a mask in which some discs are hidden, an eighth of the frame or so."""
    y, x = np.indices(shape)
    usable_pixels = np.ones(shape, np.bool_)
    for _ in range(10):
        cy, cx, r = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(5, 18)
        usable_pixels &= (y - cy) ** 2 + (x - cx) ** 2 > r**2
    return usable_pixels


def trial(cell: Cell, number: int, scenes: int, seed: int) -> dict[str, Any]:
    """Register one pair of a cell; return the error and whether the ellipses hold the truth."""
    one = clean(cell.frame, cell.content, number % scenes, seed)
    # no two cells share their noise, so that chance in one of them says nothing of another
    rng = np.random.default_rng([seed, number, zlib.crc32(str(cell).encode())])
    images = [
        image + rng.normal(0, sigma, image.shape) for image, sigma in zip(one[:2], NOISES[cell.noise], strict=True)
    ]
    options: dict[str, Any] = {}
    if cell.masks == "masked":
        masks = [discs(image.shape, rng) for image in images]
        # what is hidden would ruin the result if it were looked at
        images = [
            np.where(mask, image, rng.uniform(0, 3, image.shape)) for mask, image in zip(masks, images, strict=True)
        ]
        options = {"reference_mask": masks[0], "moving_mask": masks[1]}
    found = al.register(*images, loss=cell.loss, **options)
    error = np.array([found.dx - one.dx, found.dy - one.dy])
    spread = np.asarray(found.covariance)
    known = np.isfinite(spread).all() and np.linalg.det(spread) > 0
    return {
        "photograph": one.info["photograph"],
        "error": error.tolist(),
        "status": found.status,
        "z": float(np.sqrt(error @ np.linalg.solve(spread, error) / 2)) if known else None,
        "held": [found.confidence_ellipse(level).contains(one.dx, one.dy) for level in LEVELS] if known else None,
        "covariance": spread.tolist() if known else None,
    }


def measure(job: tuple[Cell, int, int, int, int]) -> list[dict[str, Any]]:
    """Do some trials of a cell."""
    cell, first, last, scenes, seed = job
    return [trial(cell, number, scenes, seed) for number in range(first, last)]


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the coverage and the size of the errors in units of their bars."""
    found = [r for r in records if np.hypot(*r["error"]) < LOST and r["z"] is not None]
    held = np.array([r["held"] for r in found])
    z = np.array([r["z"] for r in found])
    return {
        "pairs": len(records),
        "lost": 1 - len(found) / len(records),
        "held": held.mean(axis=0).tolist(),
        "z": float(np.sqrt(np.mean(z**2))),
        # the median of chi squared with two degrees of freedom is 2 ln 2
        "median": float(np.median(z) / np.sqrt(np.log(2))),
        "error": float(np.sqrt(np.mean([np.dot(r["error"], r["error"]) for r in found]))),
    }


def line(cell: Cell, records: list[dict[str, Any]]) -> str:
    """Return one line of the table; shares outside of what is allowed are bold."""
    s = summary(records)
    shares = []
    for level, share in zip(LEVELS, s["held"], strict=True):
        low, high = ALLOWED[level]
        shares.append(f"{share:.1%}" if low <= share <= high else f"**{share:.1%}**")
    return (
        f"| {cell} | {s['lost']:.1%} | {' | '.join(shares)} | {s['z']:.2f} | {s['median']:.2f} | {s['error']:.4f} px |"
    )


def by_photograph(rows: dict[Cell, list[dict[str, Any]]]) -> str:
    """Return, for each photograph, over all cells with sharp and with smooth content: shares held and rms of z."""
    lines = ["| photograph | content | 68 % | 95 % | z, rms | z, median |", "|---" * 6 + "|"]
    every = [(cell.content, record) for cell, records in rows.items() for record in records]
    for name in dict.fromkeys(record["photograph"] for _, record in every):
        for content in ("sharp", "smooth"):
            mine = [record for kind, record in every if kind == content and record["photograph"] == name]
            if mine:
                s = summary(mine)
                cells = name, content, *(f"{held:.0%}" for held in s["held"]), f"{s['z']:.2f}", f"{s['median']:.2f}"
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def jobs_of(cell: Cell, pairs: int, scenes: int, seed: int) -> Iterator[tuple[Cell, int, int, int, int]]:
    """Cut the trials of a cell into pieces that a process does at a time."""
    step = 50
    for first in range(0, pairs, step):
        yield cell, first, min(first + step, pairs), scenes, seed


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and store; the exit code is 1 if a share is outside of what is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000, help="in each cell (default: 2000)")
    parser.add_argument("--scenes", type=int, default=240, help="different pairs among them (default: 240)")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="cells that have all of these words")
    parser.add_argument("--photographs", action="store_true", help="a table over the photographs as well")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="store every answer")
    arguments = parser.parse_args(argv)
    cells = [cell for cell in CELLS if set(arguments.only) <= set(cell)]
    if not cells:
        parser.error(
            f"no cell has the words {', '.join(arguments.only)}; known are {', '.join(sorted(set(sum(CELLS, ()))))}"
        )
    print(f"{arguments.pairs} pairs in each cell; noise equal {NOISES['equal']}, unequal {NOISES['unequal']}.\n")
    print("| loss | content | noise | masks | frame | lost | 68 % | 95 % | z, rms | z, median | rms error |")
    print("|---" * 11 + "|", flush=True)
    rows: dict[Cell, list[dict[str, Any]]] = {}
    with ProcessPoolExecutor(arguments.jobs) as pool, tqdm(total=len(cells) * arguments.pairs, disable=None) as bar:
        for cell in cells:
            rows[cell] = []
            for piece in pool.map(measure, jobs_of(cell, arguments.pairs, arguments.scenes, arguments.seed)):
                rows[cell] += piece
                bar.update(len(piece))
            print(line(cell, rows[cell]), flush=True)
    if arguments.photographs:
        print(f"\n{by_photograph(rows)}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump([{"cell": cell._asdict(), "answers": records} for cell, records in rows.items()], file, indent=1)
    outside = [
        cell
        for cell, records in rows.items()
        for level, share in zip(LEVELS, summary(records)["held"], strict=True)
        if not ALLOWED[level][0] <= share <= ALLOWED[level][1]
    ]
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
