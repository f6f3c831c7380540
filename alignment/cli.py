"""The command line: ``alignment COMMAND ...``.

A command is two functions: ``add_NAME`` gives it a parser, ``run_NAME`` does it. `main` finds the command, hands it the
arguments and a `Session`, and turns whatever happens into an exit code:

0 all well, 1 an input failed, 2 wrong usage, 3 finished but something did not converge, 130 interrupted.

Results go to stdout, messages to stderr. This module imports nothing but the standard library at its top: what a
command needs is imported inside it, so that help and version come at once.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import math
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

OK, FAILED, USAGE, UNCONVERGED, INTERRUPTED = 0, 1, 2, 3, 130
DEMO_TOLERANCE = 0.05  # px
BETWEEN, WHOLE = (2.37, -1.61), (1.0, -2.0)  # px, where gradients are checked unless told: inside a cell, at a corner
METHODS = ("auto", "gradient-descent", "adam", "newton", "exhaustive")  # those of `register`, not imported for --help
_STARTING, _KERNELS = "interpreter and imports", "loading the kernels"  # stages of the stopwatch


class UsageError(Exception):
    """A command line that makes no sense; the message says what would."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process, which is then taken to have been started for this command.

    Returns
    -------
    int
        0 all well, 1 an input failed, 2 wrong usage, 3 finished but something did not converge, 130 interrupted.
    """
    clock = Stopwatch(_process_age() if argv is None else 0.0)
    if argv is None:
        _print_any_name()
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as end:  # argparse has spoken already
        return end.code if isinstance(end.code, int) else USAGE
    session = Session(args, clock)
    try:
        with _log_to_stderr(args.verbose):
            _limit_threads(getattr(args, "threads", None))
            code: int = args.run(args, session)
        if args.verbose:
            session.note(clock.table())
        sys.stdout.flush()
    except KeyboardInterrupt:
        session.note("alignment: interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has stopped; nothing is left to say to them
        _close_stdout()
        return FAILED
    except UsageError as error:
        session.note(f"alignment {args.command}: error: {error}; see alignment {args.command} --help")
        return USAGE
    except Exception as error:
        session.complain(error)
        return FAILED
    return code


# the parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="alignment",
        description="Find the displacement that lays one image on another, by descending a hand-derived gradient.",
        epilog="exit codes: 0 all well, 1 an input failed, 2 wrong usage, 3 not converged, 130 interrupted\n\n"
        "examples:\n"
        "  alignment demo\n"
        "  alignment colorize plate.jpg\n"
        "  alignment register reference.tif moving.tif --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"alignment {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (add_demo, add_colorize, add_register, add_gradcheck, add_info):
        add(commands)
    return parser


def _command(
    commands: Any, name: str, run: Callable[..., int], summary: str, examples: str, *parents: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    """Add the parser of one command, with the options that all share."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples.splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[*parents, _message_options()],
    )
    parser.set_defaults(run=run)
    return parser


def _message_options() -> argparse.ArgumentParser:
    """Return the options on what is said, for every command."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else, on stdout")
    volume = parent.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    volume.add_argument(
        "-v", "--verbose", action="count", default=0, help="say what took how long; -vv: tracebacks of errors as well"
    )
    return parent


def _overwrite_option() -> argparse.ArgumentParser:
    """Return the option of every command that writes."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    return parent


def _computing_options() -> argparse.ArgumentParser:
    """Return the options of every command that aligns images given to it."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--loss", choices=("ncc", "mse"), default="ncc", help="what to minimise (default: ncc)")
    parent.add_argument("--dry-run", action="store_true", help="write nothing, only say what would be written")
    parent.add_argument("--threads", type=_count, metavar="N", help="threads that the numerical libraries may use")
    return parent


def _count(text: str) -> int:
    """Read a whole number above zero."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")


def _pixels(text: str) -> float:
    """Read a number of pixels above zero."""
    with contextlib.suppress(ValueError):
        if math.isfinite(float(text)) and float(text) > 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels above 0")


def _finite(text: str) -> float:
    """Read a finite number."""
    with contextlib.suppress(ValueError):
        if math.isfinite(float(text)):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")


def _seed(text: str) -> int:
    """Read a whole number that is not negative."""
    if text.isascii() and text.isdigit():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")


# demo


def add_demo(commands: Any) -> None:
    """Add the command that shows what this is about."""
    parser = _command(
        commands,
        "demo",
        run_demo,
        "make a plate whose displacements are known, recover them, and show the colour photograph",
        "alignment demo\nalignment demo -o somewhere --overwrite",
        _overwrite_option(),
    )
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", default="alignment-demo", help="where to write (default: %(default)s)"
    )


def run_demo(args: argparse.Namespace, session: Session) -> int:
    """Write the plate, its colour photograph and a figure; print recovered against true displacement."""
    folder = Path(args.output)
    targets = {name: str(folder / f"demo_{name}") for name in ("plate.tif", "color.png", "figure.png")}
    plate_file, picture_file, figure_file = targets.values()
    with session.clock.stage(_STARTING):
        from . import datasets, imagefiles, plates, plots
    _make_folder(folder)
    for target in targets.values():
        _check_target(target, overwrite=args.overwrite)
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
    from .registration import register

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


# colorize


def add_colorize(commands: Any) -> None:
    """Add the command that turns plates into colour photographs."""
    parser = _command(
        commands,
        "colorize",
        run_colorize,
        "turn scanned plates, three grey exposures stacked vertically, into colour photographs",
        "alignment colorize plate.jpg                      writes plate_color.png beside it\n"
        "alignment colorize scans/*.tif -o photographs     writes photographs/..._color.tif\n"
        "alignment colorize plate.tif -o out.png --dtype 8",
        _computing_options(),
        _overwrite_option(),
    )
    parser.add_argument("plates", nargs="+", metavar="PLATE", help="a TIFF, PNG or JPEG file")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE|FOLDER",
        help="a file, for one plate, or a folder, made if it is missing (default: PLATE_color.png beside the plate, "
        ".tif where it has more than 8 bits)",
    )
    parser.add_argument(
        "--reference", choices=("green", "blue", "red"), default="green", help="the exposure that stays"
    )
    parser.add_argument("--order", choices=("bgr", "rgb"), default="bgr", help="the exposures from the top")
    parser.add_argument(
        "--crop", choices=("auto", "overlap", "none"), default="auto", help="what to cut off (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype", choices=("keep", "8", "16"), default="keep", help="bits per channel (default: those of the plate)"
    )


def run_colorize(args: argparse.Namespace, session: Session) -> int:
    """Turn plates into colour photographs; one that fails does not keep the others from being done."""
    jobs = plan_outputs(args.plates, args.output, ending="_color")
    with session.clock.stage(_STARTING):
        import imageio.v3  # noqa: F401

        from . import imagefiles, plates  # noqa: F401
    if args.verbose:
        with session.clock.stage(_KERNELS):
            _warm_up()
    entries = [_colorize_or_explain(job, args, session) for job in session.progress(jobs, "plate")]
    session.json({"plates": entries})
    failed = sum(entry["status"] == "failed" for entry in entries)
    doubtful = sum(not entry["success"] for entry in entries) - failed
    if len(entries) > 1:
        session.say(
            f"{len(entries)} plates: {len(entries) - failed - doubtful} done, {doubtful} not converged, {failed} failed"
        )
    return FAILED if failed else UNCONVERGED if doubtful else OK


def _warm_up() -> None:
    """Have the kernels loaded or, once after installation, compiled, so that this is not counted as aligning."""
    import numpy as np

    from . import plates

    plates.colorize((np.random.default_rng(0).random((300, 100)) * 255).astype(np.uint8))


def _colorize_or_explain(job: Job, args: argparse.Namespace, session: Session) -> dict[str, Any]:
    """Return the JSON entry of a plate, also of one that failed."""
    try:
        entry, lines = _colorize_one(job, args, session.clock)
    except Exception as error:
        return {
            "input": job.source,
            "output": None,
            "success": False,
            "status": "failed",
            "message": session.complain(error, job.source),
            "reference": args.reference,
            "exposures": {},
            "crop": None,
            "registrations": {},
        }
    session.say("\n".join(lines))
    return entry


def _colorize_one(job: Job, args: argparse.Namespace, clock: Stopwatch) -> tuple[dict[str, Any], list[str]]:
    """Read, align and write one plate; return its JSON entry, and the lines for people."""
    from . import imagefiles, plates

    with clock.stage("reading"):
        plate = imagefiles.read_image(job.source)
    dtype = {"keep": plate.dtype.name, "8": "uint8", "16": "uint16"}[args.dtype]
    target = job.target(".png" if dtype == "uint8" else ".tif")
    _check_depth(target, dtype)
    lines = [f"{job.source}: {_size(plate)}"]
    if args.dry_run:
        _check_target(target, overwrite=args.overwrite, missing_folder=True)
        message = f"would be written to {target}"
        entry = {"input": job.source, "output": target, "success": True, "status": "dry run", "message": message}
        entry |= {"reference": args.reference, "exposures": {}, "crop": None, "registrations": {}}
        return entry, [*lines, f"  {message}"]
    if job.folder is not None:
        _make_folder(job.folder)
    _check_target(target, overwrite=args.overwrite)
    with clock.stage("aligning"):
        made = plates.colorize(
            plate,
            reference=args.reference,
            loss=args.loss,
            order=args.order,
            crop=args.crop,
            threads=args.threads or 1,
        )
    with clock.stage("writing"):
        kept = "float32" if dtype.startswith("float") else dtype
        imagefiles.write_image(target, made.rgb, dtype=kept, overwrite=args.overwrite)
    lines += [f"  {name:5}  {_found(r, args.loss)}" for name, r in made.registrations.items()]
    lines += [f"  {made.message}", f"  {target}: {_size(made.rgb, kept)}"]
    return {"input": job.source, "output": target, **made.to_dict()}, lines


def _luminance(image: NDArray[Any]) -> NDArray[Any]:
    """Weigh the channels as in Rec. 709; floats, integers by the range of their dtype."""
    import numpy as np

    from .imagefiles import as_float

    levels = as_float(image)
    return levels if levels.ndim == 2 else levels @ np.array([0.2126, 0.7152, 0.0722], levels.dtype)


def _found(registration: Any, loss: str) -> str:
    """Describe a registration in one line."""
    sx, sy = _errors_of(registration)
    displacement = f"dx {registration.dx:+8.3f}{sx} px   dy {registration.dy:+8.3f}{sy} px"
    return f"{displacement}   {_quality(registration, loss)}   {_verdict(registration)}"


def _quality(registration: Any, loss: str) -> str:
    """Return the value of the loss, and what it was taken of."""
    number = f"NCC {-registration.loss:.4f}" if loss == "ncc" else f"MSE {registration.loss:.3g}"
    return number + (" of edges" if registration.options.get("features") == "edges" else "")


def _verdict(registration: Any) -> str:
    """Return the status, and what it means where something is wrong."""
    return registration.status if registration.success else f"{registration.status}: {registration.message}"


def _errors_of(registration: Any) -> tuple[str, str]:
    """Return the standard errors, where they are known, as text to follow dx and dy."""
    sx, sy = (s if s is not None and math.isfinite(s) else None for s in registration.stderr or (None, None))
    return tuple("" if s is None else f" ± {s:.3f}" for s in (sx, sy))  # type: ignore[return-value]


def _size(image: NDArray[Any], dtype: str | None = None) -> str:
    """Describe the size and depth of an image."""
    colour = ", colour" if image.ndim == 3 else ", grey"
    return f"{image.shape[1]} x {image.shape[0]} px{colour}, {dtype or image.dtype.name}"


# register


def add_register(commands: Any) -> None:
    """Add the command that registers two images."""
    parser = _command(
        commands,
        "register",
        run_register,
        "find the displacement of one image against another",
        "alignment register reference.tif moving.tif\n"
        "alignment register reference.tif moving.tif -o aligned.tif --json",
        _computing_options(),
        _overwrite_option(),
    )
    parser.add_argument("reference", metavar="REFERENCE", help="the image that stays")
    parser.add_argument("moving", metavar="MOVING", help="the image to lay on it")
    parser.add_argument("--method", choices=METHODS, default="auto", help="how to search (default: %(default)s)")
    parser.add_argument(
        "--max-shift", type=_pixels, metavar="PX", help="the largest displacement to consider, in pixels"
    )
    parser.add_argument("-o", "--output", metavar="ALIGNED", help="write the moving image, laid on the reference")


def run_register(args: argparse.Namespace, session: Session) -> int:
    """Register one image against another; print the displacement, and write the aligned image where asked to."""
    job = None
    if args.output is not None:
        (job,) = plan_outputs([args.moving], args.output, ending="_aligned", spare=[args.reference])
    with session.clock.stage(_STARTING):
        import imageio.v3  # noqa: F401

        from . import imagefiles, registration
    try:
        with session.clock.stage("reading"):
            reference, moving = (imagefiles.read_image(name) for name in (args.reference, args.moving))
        target = job.target(Path(args.moving).suffix) if job else None
        if job and target:
            _check_depth(target, moving.dtype.name, colour=moving.ndim == 3)
            if job.folder is not None and not args.dry_run:
                _make_folder(job.folder)
            _check_target(target, overwrite=args.overwrite, missing_folder=args.dry_run)
        with session.clock.stage("aligning"):
            found = registration.register(
                _luminance(reference),
                _luminance(moving),
                loss=args.loss,
                method=args.method,
                max_shift=args.max_shift,
                threads=args.threads or 1,
            )
        if target and not args.dry_run:
            with session.clock.stage("writing"):
                kept = "float32" if moving.dtype.kind == "f" else None
                imagefiles.write_image(target, found.apply(moving), dtype=kept, overwrite=args.overwrite)
    except Exception as error:
        message = session.complain(error)
        session.json({"success": False, "status": "failed", "message": message})
        return FAILED
    session.json(found.to_dict())
    session.say("\n".join(_explained(found, args.loss)))
    if target:
        session.say(f"{target}: {'would be written' if args.dry_run else _size(moving)}")
    return OK if found.success else UNCONVERGED


def _explained(found: Any, loss: str) -> list[str]:
    """Say a displacement in numbers and in words."""
    sx, sy = _errors_of(found)
    across = f"{abs(found.dx):.3f} px to the {'right' if found.dx >= 0 else 'left'} of"
    along = f"{abs(found.dy):.3f} px {'below' if found.dy >= 0 else 'above'}"
    return [
        f"dx {found.dx:+.4f}{sx} px",
        f"dy {found.dy:+.4f}{sy} px",
        f"the moving image's content lies {across} and {along} the reference's",
        f"{_quality(found, loss)}, {_verdict(found)}",
    ]


# gradcheck


@dataclass(frozen=True)
class Question:
    """One gradient to check: the function, its name for the reader, and where."""

    name: str
    function: Callable[..., Any]
    at: tuple[float, ...]
    parameters: tuple[str, ...] | None = None
    scales: Mapping[str, float] = field(default_factory=dict)


def add_gradcheck(commands: Any) -> None:
    """Add the command that checks gradients against finite differences."""
    parser = _command(
        commands,
        "gradcheck",
        run_gradcheck,
        "check a hand-derived gradient against finite differences, and say why it fails",
        "alignment gradcheck                                     both losses on the demo pair, beside and at a kink\n"
        "alignment gradcheck reference.tif moving.tif --loss ncc --at 0.5 -1.25\n"
        "alignment gradcheck mymodule:rosenbrock --at 0.3 1.7    your own f(x, y) -> (value, gradient)\n"
        "alignment gradcheck --plot errors.pdf                   error against step, for a slide",
        _overwrite_option(),
    )
    # argparse takes -1.5 for a number but, before Python 3.14, -1e-3 for an option
    parser._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)
    parser.add_argument(
        "subject",
        nargs="*",
        metavar="REFERENCE MOVING | MODULE:FUNCTION",
        help="two images, or a function of the current folder or an installed module that returns (value, gradient); "
        "by default the demo pair",
    )
    parser.add_argument(
        "--loss", choices=("ncc", "mse"), help="the loss of the two images (default: one after another)"
    )
    parser.add_argument(
        "--at",
        nargs="+",
        type=_finite,
        metavar="X",
        help="the displacement DX DY in pixels, or the function's arguments (default for images: one displacement "
        "between pixels, one at whole pixels)",
    )
    parser.add_argument(
        "--side", choices=("right", "left", "central"), help="the slope to take at whole pixels (default: right)"
    )
    parser.add_argument(
        "--domain", choices=("frame", "interior"), help="the pixels of the reference to compare (default: frame)"
    )
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="chooses the random directions (default: 0)")
    parser.add_argument("--plot", metavar="FILE", help="write a figure, error against step: .png, .pdf, .svg, ...")


def run_gradcheck(args: argparse.Namespace, session: Session) -> int:
    """Check gradients; print each table and verdict."""
    _check_subject(args)
    if args.plot is not None:
        _check_figure_name(args.plot)
        _check_target(args.plot, overwrite=args.overwrite)
    with session.clock.stage(_STARTING):
        import tqdm  # noqa: F401  (here, before the current folder can offer a file of that name)

        from . import gradcheck, losses  # noqa: F401
    folder = _current_folder_importable() if len(args.subject) == 1 else contextlib.nullcontext()
    # what a function of the user prints is no result of ours
    with folder, contextlib.redirect_stdout(sys.stderr):
        if len(args.subject) == 1:
            questions = [_question_of_function(args.subject[0], args.at)]
        else:
            with session.clock.stage("reading"):
                questions = _questions_of_images(args)
        with session.clock.stage("checking"):
            checks = list(_answers(questions, args.seed, quiet=args.quiet))
    if args.plot is not None:
        with session.clock.stage("drawing and writing the figure"):
            _plot_checks(args.plot, questions, checks, overwrite=args.overwrite)
    session.json([{"function": q.name, **check.to_dict()} for q, check in zip(questions, checks, strict=True)])
    session.say("\n\n".join(f"{q.name}\n{check}" for q, check in zip(questions, checks, strict=True)))
    passed = sum(check.passed for check in checks)
    if len(checks) > 1:
        session.say(f"\n{passed} of {len(checks)} checks passed")
    if args.plot is not None:
        session.say(f"\nerror against step: {args.plot}")
    return OK if passed == len(checks) else FAILED


def _check_subject(args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, before any work."""
    if len(args.subject) > 2:
        raise UsageError(
            f"there are {len(args.subject)} arguments; give two images, or one MODULE:FUNCTION, or nothing"
        )
    if len(args.subject) != 1:
        if args.at is not None and len(args.at) != 2:
            raise UsageError(f"--at has {len(args.at)} numbers, but a displacement is two of them; give DX DY")
        return
    subject = args.subject[0]
    module, _, function = subject.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *function.split("."))):
        raise UsageError(f"{subject!r} is neither two images nor MODULE:FUNCTION; give for example mymodule:rosenbrock")
    given = [name for name in ("loss", "side", "domain") if getattr(args, name) is not None]
    if given:
        raise UsageError(f"--{given[0]} is for images, but {subject} is a function; leave it out")


def _check_figure_name(path: str) -> None:
    """Refuse a figure of unknown format."""
    from ._checks import InputError
    from .imagefiles import image_format

    if Path(path).suffix.lower() in (".pdf", ".svg"):
        return
    try:
        image_format(path)
    except InputError as error:
        raise UsageError(f"{_sentence(error)}, or .pdf or .svg for a figure") from error


def _questions_of_images(args: argparse.Namespace) -> list[Question]:
    """Ask for each loss at each displacement, evaluated by the direct pass, which is the definition."""
    import numpy as np

    from . import datasets, imagefiles, losses

    if args.subject:
        pair = [_luminance(imagefiles.read_image(name)).astype(np.float64) for name in args.subject]
    else:
        pair = list(datasets.shifted_pair(dtype="float64"))
    options = {"domain": args.domain or "frame", "side": args.side or "right"}
    questions = []
    for loss in (args.loss,) if args.loss else ("mse", "ncc"):
        made = {"mse": losses.MSE, "ncc": losses.NCC}[loss](*pair, evaluation="direct", **options)
        (height, width), (top, bottom, left, right) = made.shape, made.domain
        scales = {"N": float((bottom - top) * (right - left)), "W/2": width / 2, "H/2": height / 2}
        for dx, dy in (args.at,) if args.at else (BETWEEN, WHOLE):
            name = f"{loss.upper()} at ({dx:g}, {dy:g}) px"
            questions.append(Question(name, made.value_and_gradient, (dx, dy), ("dx", "dy"), scales))
    return questions


def _question_of_function(subject: str, at: Sequence[float] | None) -> Question:
    """Import a function of the user, and see whether it takes so many arguments."""
    import inspect

    function = _imported(subject)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C do not tell
        signature = None
    if at is None:
        takes = f" of {signature}" if signature is not None else ""
        raise UsageError(f"{subject} needs a point; give --at and a number for each argument{takes}")
    if signature is not None:
        try:
            signature.bind(*at)
        except TypeError:
            raise UsageError(
                f"--at has {len(at)} numbers, but {subject} takes {signature}; give one for each"
            ) from None
    return Question(subject, function, tuple(at))


def _imported(subject: str) -> Callable[..., Any]:
    """Import MODULE:FUNCTION."""
    import importlib

    from ._checks import InputError

    name, _, path = subject.partition(":")
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (name == missing or name.startswith(f"{missing}.")):
            raise UsageError(
                f"there is no module {missing} in the current folder or among those installed; check {subject}"
            ) from error
        raise InputError(f"module {name} cannot be imported: {type(error).__name__}: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            offered = sorted(key for key, value in vars(found).items() if callable(value) and not key.startswith("_"))
            has = f"it has {', '.join(offered)}" if offered else "it has no functions"
            raise UsageError(f"{name} has no {path}; {has}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(
            f"{subject} is {type(found).__name__} and not a function; give one that returns (value, gradient)"
        )
    function: Callable[..., Any] = found
    return function


@contextlib.contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Let modules of the current folder be imported, as by ``python -m``."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # what was imported may have tidied up
            sys.path.remove(folder)


def _answers(questions: Sequence[Question], seed: int, *, quiet: bool) -> Iterator[Any]:
    """Check one after the other, behind a bar that counts evaluations if it takes long and someone is watching."""
    from tqdm import tqdm

    from . import gradcheck
    from ._checks import InputError

    with tqdm(unit=" evaluations", leave=False, file=sys.stderr, delay=1, disable=True if quiet else None) as bar:
        for number, question in enumerate(questions, 1):
            bar.set_description(f"{question.name} ({number} of {len(questions)})", refresh=False)

            @functools.wraps(question.function)
            def counted(*point: float, question: Question = question) -> Any:
                bar.update()
                return question.function(*point)

            try:
                yield gradcheck.check_gradient(
                    counted, question.at, seed=seed, names=question.parameters, scales=question.scales
                )
            except InputError:
                raise
            except Exception as error:
                place = "; ".join(getattr(error, "__notes__", ()))
                message = f"{question.name} raised {type(error).__name__}: {error} ({place or 'away from the point'})"
                raise InputError(message) from error


def _plot_checks(target: str, questions: Sequence[Question], checks: Sequence[Any], *, overwrite: bool) -> None:
    """Draw one panel for each check, on common scales."""
    from . import plots

    columns = min(len(checks), 2)
    rows = -(-len(checks) // columns)
    figure = plots.new_figure(1.2 + 6.0 * columns, 0.6 + 4.4 * rows)
    figure.set_layout_engine("constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, question, check in zip(panels.flat, questions, checks, strict=True):
        check.plot(panel)
        verdict = f"{check.digits.min():.1f} digits agree" if check.passed else "FAILED"
        panel.set_title(f"{question.name}: {verdict}", fontsize=14.0)
        if question.parameters:
            panel.set_xlabel("step (px)", fontsize=12.5)
        panel.label_outer()
    plots.save(figure, target, overwrite=overwrite)


# info


def add_info(commands: Any) -> None:
    """Add the command that describes the installation."""
    _command(commands, "info", run_info, "show versions, the cache folder, and the machine", "alignment info --json")


def run_info(args: argparse.Namespace, session: Session) -> int:
    """Print what a report of a defect should contain."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    with session.clock.stage(_STARTING):
        cache = _cache_folder()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    libraries = ("numpy", "numba", "llvmlite", "imageio", "pillow", "tifffile", "imagecodecs", "matplotlib", "tqdm")
    facts: dict[str, Any] = {
        "alignment": __version__,
        "python": platform.python_version(),
        **{name: installed(name) for name in libraries},
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "cores": usable,
        "threads": int(os.environ.get("NUMBA_NUM_THREADS") or usable or 1),
        "cache": cache,
    }
    session.json(facts)
    session.say("\n".join(f"{name:11}  {'not installed' if fact is None else fact}" for name, fact in facts.items()))
    return OK


def _cpu_name() -> str:
    """Return what the processor calls itself."""
    import platform

    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cache_folder() -> str:
    """Return where the compiled kernels are kept between runs."""
    from . import _kernels

    for kernel in list(vars(_kernels).values()):
        folder = getattr(getattr(kernel, "stats", None), "cache_path", None)
        if folder:
            return str(folder)
    return "none: kernels are compiled anew in each process"


# inputs and outputs


@dataclass(frozen=True)
class Job:
    """One input file, and where its result goes: to a file, or under the input's name into a folder."""

    source: str
    file: str | None
    folder: Path | None
    ending: str

    def target(self, suffix: str) -> str:
        """Return the file to write, with this suffix unless the user has named the file."""
        if self.file is not None:
            return self.file
        source = Path(self.source)
        return str((self.folder if self.folder is not None else source.parent) / f"{source.stem}{self.ending}{suffix}")


def plan_outputs(sources: Sequence[str], output: str | None, *, ending: str, spare: Sequence[str] = ()) -> list[Job]:
    """Decide where results go, before any work, and refuse plans in which one file would replace another.

    Parameters
    ----------
    sources : sequence of str
        The input files.
    output : str, optional
        A folder, if it is one, ends in a separator or has no suffix; otherwise a file, for one input only.
    ending : str
        What is put behind an input's name to make its result's.
    spare : sequence of str
        Files besides the inputs that must not be replaced.

    Returns
    -------
    list of Job
    """
    file, folder = None, None
    if output is not None:
        as_folder = os.path.isdir(output) or output.endswith(("/", os.sep)) or not Path(output).suffix
        file, folder = (None, Path(output)) if as_folder else (output, None)
    if file is not None:
        from ._checks import InputError
        from .imagefiles import image_format

        if len(sources) > 1:
            raise UsageError(f"{file} is one file, but there are {len(sources)} inputs; give a folder with -o")
        try:
            image_format(file)
        except InputError as error:
            raise UsageError(_sentence(error)) from error
    jobs = [Job(source, file, folder, ending) for source in sources]
    inputs = {os.path.normcase(os.path.realpath(name)): name for name in (*sources, *spare)}
    taken: dict[str, str] = {}
    for job in jobs:
        for suffix in (".png", ".tif", Path(job.source).suffix):
            clash = inputs.get(os.path.normcase(os.path.realpath(job.target(suffix))))
            if clash is not None:
                raise UsageError(
                    f"the result of {job.source} would replace the input {clash}; give another name with -o"
                )
        # whatever the suffix will be, which depends on the depth of an image that nobody has read yet
        place = os.path.normcase(os.path.realpath(job.target("")))
        if place in taken:
            raise UsageError(
                f"{taken[place]} and {job.source} would both be written as {job.target('')}; "
                "do them one by one, with -o"
            )
        taken[place] = job.source
    return jobs


def _make_folder(folder: Path) -> None:
    """Make the folder for results where it is missing."""
    from ._checks import InputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise InputError(
            f"{folder} is to be the folder for the results but is a file; choose another with -o"
        ) from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(f"the folder {folder} cannot be made ({reason}); choose another with -o") from error


def _check_target(target: str, *, overwrite: bool, missing_folder: bool = False) -> None:
    """Find out whether a file can be written, without leaving anything behind."""
    from ._checks import InputError
    from .imagefiles import check_writable

    if not overwrite and os.path.lexists(target) and not os.path.isdir(target):
        raise InputError(f"{target} exists already; give --overwrite to replace it, or another name with -o")
    if missing_folder and not os.path.isdir(os.path.dirname(target) or "."):
        return
    check_writable(target, overwrite=overwrite)


def _check_depth(target: str, dtype: str, *, colour: bool = True) -> None:
    """Refuse, before the work, a format that cannot hold the result."""
    from ._checks import InputError
    from .imagefiles import image_format

    kind = image_format(target)
    if kind == "TIFF" or dtype == "uint8" or (kind == "PNG" and dtype == "uint16" and not colour):
        return
    raise InputError(
        f"{target} is to hold {dtype}, which {kind} cannot; name it .tif, or give --dtype 8 where there is one"
    )


# what is said, and how long it takes


@dataclass
class Session:
    """What is said to whom: results on stdout, messages on stderr."""

    args: argparse.Namespace
    clock: Stopwatch
    _bar: Any = field(default=None)

    def say(self, text: str) -> None:
        """Print a result for people, unless they asked for JSON or for quiet."""
        if not (self.args.json or self.args.quiet):
            self._write(text, sys.stdout)

    def json(self, value: Any) -> None:
        """Print the result for programs, if asked to."""
        if self.args.json:
            self._write(json.dumps(_plain(value), indent=2, allow_nan=False), sys.stdout)

    def note(self, text: str) -> None:
        """Print a message."""
        self._write(text, sys.stderr)

    def complain(self, error: Exception, source: str | None = None) -> str:
        """Print an error as one sentence, its traceback only with -vv, and return the sentence."""
        sentence = _sentence(error)
        if source is not None and source not in sentence:
            sentence = f"{source}: {sentence}"
        if self.args.verbose > 1:
            self.note("".join(traceback.format_exception(error)).rstrip())
        self.note(f"alignment: error: {sentence}")
        return sentence

    def progress(self, jobs: Sequence[Job], unit: str) -> Iterable[Job]:
        """Go through the jobs behind a bar on stderr, if there are several and someone is watching."""
        if len(jobs) < 2:
            return jobs
        from tqdm import tqdm

        self._bar = tqdm(jobs, unit=unit, leave=False, file=sys.stderr, disable=True if self.args.quiet else None)
        bar: Iterable[Job] = self._bar
        return bar

    def _write(self, text: str, file: Any) -> None:
        """Print, around the bar if there is one."""
        if self._bar is None:
            print(text, file=file)
        else:
            self._bar.write(text, file=file)


class Stopwatch:
    """Wall time by stage.

    Parameters
    ----------
    age : float
        Seconds that the process had run when the watch was made.
    """

    def __init__(self, age: float = 0.0) -> None:
        self._begun = time.perf_counter() - age
        self._stages = {_STARTING: age}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + time.perf_counter() - begun

    def table(self) -> str:
        """Return seconds and share of each stage."""
        total = time.perf_counter() - self._begun
        rest = max(total - sum(self._stages.values()), 0.0)
        rows = [*self._stages.items(), ("everything else", rest), ("wall time", total)]
        return "\n".join(f"{name:24} {seconds:8.3f} s  {seconds / total:4.0%}" for name, seconds in rows)


def _process_age() -> float:
    """Return the seconds since this process was started, where the system tells (to 0.01 s), otherwise 0."""
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # the twenty-second field: ticks since boot
        return max(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 0.0)
    except (OSError, AttributeError, IndexError, ValueError):
        return 0.0


def _sentence(error: BaseException) -> str:
    """Say an error in one sentence: what the package or the system reports, or that it is a defect of ours."""
    from ._checks import InputError

    if isinstance(error, InputError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "the memory of this machine does not suffice; close other programs or give a smaller image"
    elif isinstance(error, OSError):
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        text = (
            f"{error.filename}: {reason}; check the path"
            if error.filename
            else f"{reason}; check the disk and the path"
        )
    else:
        text = (
            f"internal error, {type(error).__name__}: {error}; this is a defect of alignment, "
            "run again with -vv and report what it prints"
        )
    return " ".join(text.split()).removesuffix(".")


def _plain(value: Any) -> Any:
    """Turn a value into what JSON knows; a number that is not finite becomes null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


@contextlib.contextmanager
def _log_to_stderr(verbose: int) -> Iterator[None]:
    """Show the log of the package while a command runs, if asked to."""
    logger = logging.getLogger("alignment")
    if not verbose:
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose == 1 else logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


def _limit_threads(count: int | None) -> None:
    """Tell the numerical libraries how many threads they may use."""
    if count is None:
        return
    if "numpy" not in sys.modules:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(count)
    numba = sys.modules.get("numba")
    if numba is None:
        os.environ["NUMBA_NUM_THREADS"] = str(count)
    else:
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


def _print_any_name() -> None:
    """Let stdout print file names and signs that its encoding lacks, instead of failing on them."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _close_stdout() -> None:
    """Send what is left in stdout's buffer nowhere, so that the interpreter's own flush at exit stays silent."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
