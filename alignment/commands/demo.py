"""``alignment demo``: a plate whose displacements are known, recovered and shown."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import command, overwrite_option
from .console import OK, STARTING, UNCONVERGED, Bar, Session
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
        "alignment demo\nalignment demo -o somewhere --overwrite\nalignment demo --animate sliding.gif",
        overwrite_option(),
    )
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", default="alignment-demo", help="where to write (default: %(default)s)"
    )
    parser.add_argument(
        "--animate", metavar="FILE.gif", help="also write the channels sliding into place, step by step, as a GIF"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Write the plate, its colour photograph and a figure; print recovered against true displacement."""
    folder = Path(args.output)
    files = {name: str(folder / f"demo_{name}") for name in ("plate.tif", "color.png", "figure.png")}
    if args.animate is not None:
        files["film.gif"] = args.animate
    with session.bar(4 + (args.animate is not None), "stage") as bar:
        made, truth = _make(args, session, bar, folder, files)
    errors = {name: math.hypot(r.dx - truth[name][0], r.dy - truth[name][1]) for name, r in made.registrations.items()}
    close = all(error <= DEMO_TOLERANCE for error in errors.values())
    entry = {"input": files["plate.tif"], "output": files["color.png"], **made.to_dict()}
    entry |= {"figure": files["figure.png"], "animation": args.animate}
    session.json({"plates": [entry | {"truth": truth, "error": errors, "tolerance": DEMO_TOLERANCE}]})
    session.say(_demo_table(made.registrations, truth, errors))
    promise = f"within the {DEMO_TOLERANCE} px promised"
    session.say(f"{made.message}; errors are {promise if close else 'NOT ' + promise}\n")
    for name, what in zip(files, ("the plate", "the colour photograph", "how it went", "step by step"), strict=False):
        session.say(f"{what:22} {files[name]}")
    return OK if made.success and close else UNCONVERGED


def _make(
    args: argparse.Namespace, session: Session, bar: Bar, folder: Path, files: Mapping[str, str]
) -> tuple[Any, dict[str, tuple[float, float]]]:
    """Make, align and draw the plate, and write the files; return the result, and the truth that refers to it."""

    @contextlib.contextmanager
    def stage(name: str) -> Iterator[None]:
        bar.stage(name)
        with session.clock.stage(name):
            yield
        bar.advance()

    with stage(STARTING):
        from .. import datasets, imagefiles, plates, plots
    if args.animate is not None:
        plots.check_animation(args.animate)
    make_folder(folder)
    for target in files.values():
        check_target(target, overwrite=args.overwrite)
    with stage("making the plate"):
        demo = datasets.demo_plate()
    with stage("aligning"):
        made = plates.colorize(demo.plate)
    truth = _referred(demo.truth, demo.exposures, made.exposures, made.reference)
    with stage("drawing and writing"):
        descents = _plain_descents(demo.plate, made)
        figure = plots.demo_figure(demo.plate, made, truth, descents=descents)
        imagefiles.write_image(files["plate.tif"], demo.plate, overwrite=args.overwrite)
        imagefiles.write_image(files["color.png"], made.rgb, dtype="uint8", overwrite=args.overwrite)
        plots.save(figure, files["figure.png"], overwrite=args.overwrite)
    if args.animate is not None:
        with stage("animating"):
            film = _film(demo.plate, made, descents, truth)
            plots.save_animation(film, args.animate, overwrite=args.overwrite)
    return made, truth


def _plain_descents(plate: NDArray[Any], made: Any) -> dict[str, Any]:
    """Walk from (0, 0) to each displacement by plain gradient descent, which shows more than the quick methods.

    On the grey levels, whatever the result was found on: their landscapes are what the film shows.
    """
    from ..registration import register

    cut = _cut(plate, made)
    return {
        name: register(
            cut[made.reference], cut[name], **{**found.options, "features": "intensity", "method": "gradient-descent"}
        )
        for name, found in made.registrations.items()
    }


def _cut(plate: NDArray[Any], made: Any) -> dict[str, NDArray[Any]]:
    """Cut the three exposures out, all of the smallest one's size."""
    height, width = (min(r[i + 1] - r[i] for r in made.exposures.values()) for i in (0, 2))
    return {name: plate[top : top + height, left : left + width] for name, (top, _, left, _) in made.exposures.items()}


def _film(plate: NDArray[Any], made: Any, descents: Mapping[str, Any], truth: Any) -> list[NDArray[Any]]:
    """Draw the channels sliding into place, beside their paths on the landscapes."""
    from .. import plots
    from ..registration import LOSSES

    cut = _cut(plate, made)
    objectives = {name: LOSSES["ncc"](cut[made.reference], cut[name], domain="interior") for name in descents}
    traces = {name: found.trace for name, found in descents.items()}
    return plots.animation(cut, traces, objectives, reference=made.reference, truth=truth)


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
