"""``alignment colorize``: plates into colour photographs."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

from .arguments import (
    colour_options,
    command,
    computing_options,
    crop,
    exposures,
    many_options,
    overwrite_option,
    pixels,
)
from .console import FAILED, KERNELS, OK, STARTING, UNCONVERGED, Bar, Session, UsageError
from .finishing import DEPTHS, Finish
from .platework import Done, Task, make
from .sources import expand
from .summary import check_summary, count, table, totals, write_summary
from .targets import plan_outputs

ORDERS = tuple("".join(order) for order in itertools.permutations("bgr"))
FEATURES = ("auto", "edges", "fine", "intensity", "normalised")  # those of `plates.colorize`, not imported for --help
FIGURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".pdf", ".svg")

_EXAMPLES = """\
alignment colorize plate.jpg                        writes plate_color.png beside it
alignment colorize scans -o photographs --jobs 4    every image in the folder; run it again to go on
alignment colorize "scans/*.tif" --figures --summary scans.csv
alignment colorize plate.tif -o out.png --dtype 8 --balance gray-world --contrast
alignment colorize plate.tif --crop 3300,6400,210,3520 --figure how.png"""


def add(commands: Any) -> None:
    """Add the command that turns plates into colour photographs."""
    parser = command(
        commands,
        "colorize",
        run,
        "turn scanned plates, three grey exposures stacked vertically, into colour photographs",
        _EXAMPLES,
        computing_options(),
        many_options(),
        colour_options(),
        overwrite_option(),
    )
    parser.add_argument(
        "plates", nargs="+", metavar="PLATE", help='a TIFF, PNG or JPEG file, a folder of them, or a "pattern*.tif"'
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE|FOLDER",
        help="a file, for one plate, or a folder, made if it is missing (default: PLATE_color.png beside the plate, "
        ".tif where it has more than 8 bits); the displacements go beside it, as PLATE_shifts.json",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="do again what is done, and replace what was made before, unless somebody has changed it: otherwise, "
        "where there are several plates or a folder, one is left alone whose picture was made from the same file, with "
        "the same options, by this version (by another version: it is made again)",
    )
    _add_choices(parser)
    parser.add_argument("--figure", metavar="FILE", help="draw what happened, for one plate (.png, .jpg, .pdf, .svg)")
    parser.add_argument("--figures", action="store_true", help="draw it beside each picture, as PLATE_figure.png")
    parser.add_argument("--summary", metavar="FILE", help="write what became of each plate as .csv or .json")


def _add_choices(parser: argparse.ArgumentParser) -> None:
    """Add the options that have a say in the picture."""
    parser.add_argument(
        "--reference", choices=("green", "blue", "red"), default="green", help="the exposure that stays"
    )
    parser.add_argument(
        "--order", choices=ORDERS, default="bgr", help="the exposures from the top (default: %(default)s)"
    )
    parser.add_argument(
        "--exposures",
        type=exposures,
        metavar="FILE|TEXT",
        help='where they are, if not as found: "blue=TOP,BOTTOM,LEFT,RIGHT;green=...;red=..." or a JSON file',
    )
    parser.add_argument("--features", choices=FEATURES, default="auto", help="what is compared (default: %(default)s)")
    parser.add_argument(
        "--max-shift", type=pixels, metavar="PX", help="the largest displacement to consider, in pixels"
    )
    parser.add_argument(
        "--crop",
        type=crop,
        default="auto",
        metavar="auto|overlap|none|RECTANGLE",
        help="what to keep: the part without damaged or uncovered borders, all that three exposures cover, everything, "
        "or TOP,BOTTOM,LEFT,RIGHT in pixels of the plate (default: %(default)s)",
    )
    parser.add_argument(
        "--dtype", choices=DEPTHS, default="keep", help="bits per channel (default: those of the plate)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Turn plates into colour photographs; one that fails does not keep the others from being done."""
    with session.bar(1, "plate") as waiting:
        waiting.stage("starting")  # seen before the imports, which take their time
        tasks = _plan(args, session)
        here = args.jobs == 1 and args.scheduler is None
        if here:  # workers import for themselves, and need not wait until it has been done here as well
            with session.clock.stage(STARTING):
                import imageio.v3  # noqa: F401

                from .. import imagefiles, plates  # noqa: F401
        if args.verbose and here and not args.dry_run:
            with session.clock.stage(KERNELS):
                _warm_up()
    entries = []
    with session.bar(len(tasks), "plate") as bar, contextlib.closing(_outcomes(tasks, args, bar)) as outcomes:
        for outcome in outcomes:
            entries.append(_told(outcome, len(tasks), args, session))
            bar.advance()
    if args.summary is not None and not args.dry_run:
        write_summary(args.summary, entries, overwrite=args.overwrite)
    session.json({"plates": entries})
    if len(entries) > 1:
        session.say(f"\n{table(entries)}\n\n{totals(entries)}")
    failed, doubtful = count(entries)
    without_figure = any("trouble" in entry for entry in entries)
    return FAILED if failed or without_figure else UNCONVERGED if doubtful else OK


def _plan(args: argparse.Namespace, session: Session) -> list[Task]:
    """Return what is to be done to which file, or refuse what makes no sense, before any work."""
    from ..imagefiles import IMAGE_SUFFIXES
    from ..sidecar import made_by_us

    sources, left_out = expand(args.plates, IMAGE_SUFFIXES, made_by_us)
    if left_out and args.verbose:
        session.note(f"alignment: {left_out} pictures of earlier runs are left out")
    if not sources:
        raise UsageError("these are all pictures that alignment has made; give the scans of plates")
    if args.scheduler is not None:  # its workers are at home elsewhere
        sources = [os.path.abspath(source) for source in sources]
        args.output = None if args.output is None else _absolute(args.output)
        args.figure = None if args.figure is None else os.path.abspath(args.figure)
    jobs = plan_outputs(sources, args.output, ending="_color")
    check_summary(args.summary, sources, overwrite=args.overwrite)
    finish = Finish.of(args)
    task = partial(
        Task,
        choices=_choices(args),
        finish=finish,
        figure=args.figure or args.figures,
        overwrite=args.overwrite,
        force=args.force,
        resume=len(jobs) > 1 or jobs[0].folder is not None or args.plates != sources,
        dry_run=args.dry_run,
        threads=1 if args.jobs > 1 else args.threads or 1,
    )
    tasks = [task(job) for job in jobs]
    _check_figures(tasks, args)
    return tasks


def _absolute(output: str) -> str:
    """Return the absolute form of an output, which stays a folder where it was one."""
    return os.path.abspath(output) + (os.sep if output.endswith(("/", os.sep)) else "")


def _choices(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `plates.colorize` that have a say in the picture, as JSON would hold them."""
    held = None if args.exposures is None else {name: list(value) for name, value in args.exposures.items()}
    return {
        "reference": args.reference,
        "loss": args.loss,
        "order": args.order,
        "crop": args.crop if isinstance(args.crop, str) else list(args.crop),
        "features": args.features,
        "max_shift": args.max_shift,
        "exposures": held,
    }


def _check_figures(tasks: Sequence[Task], args: argparse.Namespace) -> None:
    """Refuse figures that cannot be, or that would replace an input or the picture."""
    if args.figure is not None:
        if len(tasks) > 1:
            raise UsageError(f"{args.figure} is one figure, but there are {len(tasks)} plates; give --figures")
        if os.path.splitext(args.figure)[1].lower() not in FIGURES:
            raise UsageError(f"{args.figure} is no name for a figure; end it in {', '.join(FIGURES)}")
    inputs = {os.path.realpath(task.job.source): task.job.source for task in tasks}
    for task in tasks:
        if task.figure_file is None:
            continue
        place = os.path.realpath(task.figure_file)
        if place in inputs:
            raise UsageError(
                f"the figure of {task.job.source} would replace the input {inputs[place]}; give -o or --figure"
            )
        if place in {os.path.realpath(task.job.target(suffix)) for suffix in (".png", ".tif")}:
            raise UsageError(f"{task.figure_file} cannot be both the picture and the figure; give two names")


def _outcomes(tasks: Sequence[Task], args: argparse.Namespace, bar: Bar) -> Generator[Any, None, None]:
    """Do the work, here or elsewhere."""
    from ..batch import run as run_batch

    if args.jobs > 1 or args.scheduler is not None:
        bar.stage("dask" if args.scheduler is not None else f"{args.jobs} processes")
        yield from run_batch(make, tasks, jobs=args.jobs, scheduler=args.scheduler)
        return

    def report(source: str, stage: str) -> None:
        bar.stage(f"{os.path.basename(source)}: {stage}")

    yield from run_batch(partial(make, report=report), tasks)


def _told(outcome: Any, total: int, args: argparse.Namespace, session: Session) -> dict[str, Any]:
    """Say what became of a plate, and return its JSON entry."""
    source = outcome.item.job.source
    if outcome.error is not None:
        return _failed(source, session.complain(outcome.error, source), args.reference) | {"seconds": outcome.seconds}
    done: Done = outcome.value
    if args.jobs == 1 and args.scheduler is None:
        for stage, seconds in done.stages.items():
            session.clock.add(stage, seconds)
    entry = {**done.entry, "seconds": outcome.seconds}
    if done.trouble is not None:
        entry["trouble"] = session.complain(done.trouble, source)
    if total == 1 or args.verbose:
        session.say("\n".join(done.lines))
    else:
        before = ", before" if entry["done_before"] else ""
        session.say(f"{source}: {entry['status']}{before} -> {entry['output']}")
    return entry


def _failed(source: str, message: str, reference: str) -> dict[str, Any]:
    """Return the entry of a plate that failed."""
    return {
        "input": source,
        "output": None,
        "success": False,
        "status": "failed",
        "message": message,
        "reference": reference,
        "exposures": {},
        "crop": None,
        "registrations": {},
        "done_before": False,
    }


def _warm_up() -> None:
    """Have the kernels loaded or, once after installation, compiled, so that this is not counted as aligning."""
    import numpy as np

    from .. import plates

    plates.colorize((np.random.default_rng(0).random((300, 100)) * 255).astype(np.uint8))
