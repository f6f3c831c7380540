"""``alignment demo``: a plate whose displacements are known, recovered and shown."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import command, overwrite_option
from .console import OK, STARTING, UNCONVERGED, Session
from .targets import check_target, make_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEMO_TOLERANCE = 0.05  # px


def add(commands: Any) -> None:
    """Add the command that shows what this is about."""
    parser = command(
        commands,
        "demo",
        run,
        "make a plate whose displacements are known, recover them, and show the colour photograph",
        "alignment demo\nalignment demo -o somewhere --overwrite",
        overwrite_option(),
    )
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", default="alignment-demo", help="where to write (default: %(default)s)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Write the plate, its colour photograph and a figure; print recovered against true displacement."""
    folder = Path(args.output)
    targets = {name: str(folder / f"demo_{name}") for name in ("plate.tif", "color.png", "figure.png")}
    plate_file, picture_file, figure_file = targets.values()
    with session.clock.stage(STARTING):
        from .. import datasets, imagefiles, plates, plots
    make_folder(folder)
    for target in targets.values():
        check_target(target, overwrite=args.overwrite)
    with session.clock.stage("making the plate"):
        demo = datasets.demo_plate()
    with session.clock.stage("aligning"):
        made = plates.colorize(demo.plate)
    truth = _referred(demo.truth, demo.exposures, made.exposures, made.reference)
    errors = {name: math.hypot(r.dx - truth[name][0], r.dy - truth[name][1]) for name, r in made.registrations.items()}
    with session.clock.stage("drawing the figure"):
        figure = plots.demo_figure(demo.plate, made, truth, descents=_plain_descents(demo.plate, made))
    with session.clock.stage("writing"):
        imagefiles.write_image(plate_file, demo.plate, overwrite=args.overwrite)
        imagefiles.write_image(picture_file, made.rgb, dtype="uint8", overwrite=args.overwrite)
        plots.save(figure, figure_file, overwrite=args.overwrite)
    close = all(error <= DEMO_TOLERANCE for error in errors.values())
    entry = {"input": plate_file, "output": picture_file, **made.to_dict()}
    entry |= {"figure": figure_file, "truth": truth, "error": errors, "tolerance": DEMO_TOLERANCE}
    session.json({"plates": [entry]})
    session.say(_demo_table(made.registrations, truth, errors))
    promise = f"within the {DEMO_TOLERANCE} px promised"
    session.say(f"{made.message}; errors are {promise if close else 'NOT ' + promise}\n")
    session.say(f"the plate              {plate_file}")
    session.say(f"the colour photograph  {picture_file}")
    session.say(f"how it went            {figure_file}")
    return OK if made.success and close else UNCONVERGED


def _plain_descents(plate: NDArray[Any], made: Any) -> dict[str, Any]:
    """Walk from (0, 0) to each displacement by plain gradient descent, which shows more than the quick methods."""
    from ..registration import register

    cut = {name: plate[top:bottom, left:right] for name, (top, bottom, left, right) in made.exposures.items()}
    return {
        name: register(cut[made.reference], cut[name], **{**found.options, "method": "gradient-descent"})
        for name, found in made.registrations.items()
    }


def _referred(
    truth: Mapping[str, tuple[float, float]],
    true_exposures: Mapping[str, Sequence[int]],
    found_exposures: Mapping[str, Sequence[int]],
    reference: str,
) -> dict[str, tuple[float, float]]:
    """Return the true displacements between the rectangles that were found, instead of the true rectangles."""

    def corner_moved(name: str) -> tuple[int, int]:
        return (
            true_exposures[name][2] - found_exposures[name][2],
            true_exposures[name][0] - found_exposures[name][0],
        )

    x0, y0 = corner_moved(reference)
    moved = {name: corner_moved(name) for name in truth}
    return {name: (dx + moved[name][0] - x0, dy + moved[name][1] - y0) for name, (dx, dy) in truth.items()}


def _demo_table(found: Mapping[str, Any], truth: Mapping[str, tuple[float, float]], errors: Mapping[str, float]) -> str:
    """Set recovered against true displacement."""
    lines = ["channel    recovered dx, dy (px)      true dx, dy (px)    error (px)"]
    for name, r in found.items():
        dx, dy = truth[name]
        lines.append(f"{name:7}  {r.dx:+12.3f}, {r.dy:+8.3f}  {dx:+12.3f}, {dy:+8.3f}  {errors[name]:12.3f}")
    return "\n".join(lines)
