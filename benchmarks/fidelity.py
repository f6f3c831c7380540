"""Whether a small scan of a glass plate and a large one of the same glass agree within their error bars.

    python benchmarks/fidelity.py PLATE ... [--factors 4 6 9] [--level 0.95] [--json FILE]

Each full-size plate is cut into its exposures, and they are registered in pairs at full size and averaged over squares
of some pixels, as a coarser scanner would see them, each time from another corner. The displacements of the small ones
are compared with those at full size, in pixels of the small ones: the difference should lie in the ellipse of both
covariances together. Pairs that are not converged at one of the two sizes are counted, and not compared: they say
themselves that they are not to be trusted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import alignment as al
from alignment.exposures import find_exposures
from alignment.uncertainty import confidence_factor

Image = NDArray[Any]


def coarser(image: Image, factor: int, corner: int) -> Image:
    """Return the means over squares of some pixels, the first at a corner."""
    levels = image[corner:, corner:].astype(np.float32) / np.iinfo(image.dtype).max
    height, width = (size // factor for size in levels.shape)
    return levels[: height * factor, : width * factor].reshape(height, factor, width, factor).mean(axis=(1, 3))


def compare(large: Any, small: Any, factor: int, level: float) -> dict[str, Any]:
    """Set two answers for one pair side by side, in pixels of the small scan."""
    difference = np.array([small.dx - large.dx / factor, small.dy - large.dy / factor])
    covariance = small.covariance + large.covariance / factor**2
    freedom = min(small.degrees_of_freedom, large.degrees_of_freedom)
    trusted = bool(small.success and large.success)
    squared = float(difference @ np.linalg.solve(covariance, difference)) if trusted else None
    return {
        "difference": difference.tolist(),
        "bar": np.sqrt(np.diag(covariance)).tolist(),
        "status": [large.status, small.status],
        "inside": None if squared is None else bool(squared <= confidence_factor(level, freedom)),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and store; the exit code is 1 if fewer than 90 % agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plates", nargs="+", metavar="PLATE", help="full-size scans, three exposures above one another")
    parser.add_argument(
        "--factors", type=int, nargs="+", default=[4, 6, 9], help="pixels along a square (default: 4 6 9)"
    )
    parser.add_argument("--level", type=float, default=0.95, help="of the ellipses (default: 0.95)")
    parser.add_argument("--json", metavar="FILE", help="store every comparison")
    arguments = parser.parse_args(argv)
    records: list[dict[str, Any]] = []
    print(
        "| plate | pair | factor | small less large, px | error bar, px | agrees |\n|---|---|---|---|---|---|",
        flush=True,
    )
    with tqdm(total=len(arguments.plates) * 3 * (1 + len(arguments.factors)), unit="pair", disable=None) as bar:
        for name in arguments.plates:
            plate = al.read_image(name)
            boxes = find_exposures(plate).rectangles
            size = [min(b - t for t, b, _, _ in boxes.values()), min(r - left for _, _, left, r in boxes.values())]
            cut = {c: plate[t : t + size[0], left : left + size[1]] for c, (t, _, left, _) in boxes.items()}
            for one, other in itertools.combinations(cut, 2):
                large = al.register(cut[one], cut[other])
                bar.update()
                for corner, factor in enumerate(arguments.factors):
                    small = al.register(*(coarser(cut[channel], factor, corner) for channel in (one, other)))
                    found = compare(large, small, factor, arguments.level)
                    records.append({"plate": name, "pair": [one, other], "factor": factor, **found})
                    (x, y), (sx, sy) = found["difference"], found["bar"]
                    words = {True: "yes", False: "**no**", None: " / ".join(found["status"])}[found["inside"]]
                    print(
                        f"| {name.rpartition('/')[2]} | {other} on {one} | {factor} | {x:+.3f}, {y:+.3f} "
                        f"| {sx:.3f}, {sy:.3f} | {words} |",
                        flush=True,
                    )
                    bar.update()
    compared = [record["inside"] for record in records if record["inside"] is not None]
    print(f"\n{sum(compared)} of {len(compared)} agree; {len(records) - len(compared)} are not to be compared.")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(records, file, indent=1)
    return 0 if compared and sum(compared) >= 0.9 * len(compared) else 1


if __name__ == "__main__":
    sys.exit(main())
