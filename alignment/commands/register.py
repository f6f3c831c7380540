"""``alignment register``: the displacement of one image against another."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any

from .arguments import command, computing_options, count, overwrite_option, pixels
from .console import FAILED, OK, STARTING, UNCONVERGED, Session, UsageError, sentence_of
from .targets import Job, check_depth, check_target, make_folder, plan_outputs
from .wording import errors_of, luminance, quality, size, verdict

METHODS = ("auto", "gradient-descent", "adam", "newton", "exhaustive")  # those of `register`, not imported for --help
FIGURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".pdf", ".svg")
GRID = (4, 4)


def add(commands: Any) -> None:
    """Add the command that registers two images."""
    parser = command(
        commands,
        "register",
        run,
        "find the displacement of one image against another",
        "alignment register reference.tif moving.tif\n"
        "alignment register reference.tif moving.tif -o aligned.tif --json\n"
        "alignment register reference.tif moving.tif --tiles 4x6 --figure map.png",
        computing_options(),
        overwrite_option(),
    )
    parser.add_argument("reference", metavar="REFERENCE", help="the image that stays")
    parser.add_argument("moving", metavar="MOVING", help="the image to lay on it")
    parser.add_argument("--method", choices=METHODS, default="auto", help="how to search (default: %(default)s)")
    parser.add_argument(
        "--max-shift", type=pixels, metavar="PX", help="the largest displacement to consider, in pixels"
    )
    parser.add_argument("-o", "--output", metavar="ALIGNED", help="write the moving image, laid on the reference")
    parser.add_argument(
        "--tiles",
        type=grid,
        nargs="?",
        const=GRID,
        metavar="ROWSxCOLUMNS",
        help="register tile by tile what is left over, and say whether it looks like a rotation, a scale, a shear or "
        "local motion (without a number: 4x4)",
    )
    parser.add_argument(
        "--figure", metavar="FILE", help="draw what the tiles tell (.png, .jpg, .tif, .pdf, .svg); implies --tiles"
    )


def grid(text: str) -> tuple[int, int]:
    """Read the numbers of rows and columns."""
    with contextlib.suppress(ValueError, argparse.ArgumentTypeError):
        rows, columns = text.lower().split("x")
        return count(rows), count(columns)
    raise argparse.ArgumentTypeError(f"{text!r} is not a grid of ROWSxCOLUMNS, such as 4x6")


def run(args: argparse.Namespace, session: Session) -> int:
    """Register one image against another; print the displacement, and write the aligned image where asked to."""
    job = None
    if args.output is not None:
        (job,) = plan_outputs([args.moving], args.output, ending="_aligned", spare=[args.reference])
    _check_figure(args)
    with session.clock.stage(STARTING):
        import imageio.v3  # noqa: F401

        from .. import imagefiles, registration
    local = None
    try:
        with session.clock.stage("reading"):
            reference, moving = (imagefiles.read_image(name) for name in (args.reference, args.moving))
        target = job.target(Path(args.moving).suffix) if job else None
        if job and target:
            _check_aligned(job, target, moving, args)
        grey = luminance(reference), luminance(moving)
        with session.clock.stage("aligning"):
            found = registration.register(
                *grey, loss=args.loss, method=args.method, max_shift=args.max_shift, threads=args.threads or 1
            )
        if found.success and (args.tiles or args.figure):
            with session.clock.stage("aligning tiles"):
                local = _local(*grey, found, args)
        if target and not args.dry_run:
            with session.clock.stage("writing"):
                kept = "float32" if moving.dtype.kind == "f" else None
                imagefiles.write_image(target, found.apply(moving), dtype=kept, overwrite=args.overwrite)
        if local is not None and args.figure and not args.dry_run:
            with session.clock.stage("drawing"):
                local.plot(args.figure, image=grey[0], overwrite=args.overwrite)
    except Exception as error:
        message = session.complain(error)
        session.json({"success": False, "status": "failed", "message": message})
        return FAILED
    asked = {"local": None if local is None else local.to_dict()} if args.tiles or args.figure else {}
    session.json({**found.to_dict(), **asked})
    session.say("\n".join([*_explained(found, args.loss), *([] if local is None else [local.message])]))
    _say_written(args, session, target, local, moving)
    return OK if found.success else UNCONVERGED


def _check_figure(args: argparse.Namespace) -> None:
    """Refuse a figure that cannot be drawn, or that would replace an input or the result, before any work."""
    if args.figure is None:
        return
    if Path(args.figure).suffix.lower() not in FIGURES:
        raise UsageError(f"{args.figure} is no name for a figure; give one that ends in {', '.join(FIGURES)}")
    for name in (args.reference, args.moving, args.output):
        if name is not None and os.path.realpath(name) == os.path.realpath(args.figure):
            raise UsageError(f"the figure would replace {name}; give another name with --figure")
    from .._checks import InputError

    try:
        check_target(args.figure, overwrite=args.overwrite)
    except InputError as error:
        raise UsageError(sentence_of(error)) from error


def _check_aligned(job: Job, target: str, moving: Any, args: argparse.Namespace) -> None:
    """Find out, before the work, whether the aligned image can be written."""
    check_depth(target, moving.dtype.name, colour=moving.ndim == 3)
    if job.folder is not None and not args.dry_run:
        make_folder(job.folder)
    check_target(target, overwrite=args.overwrite, missing_folder=args.dry_run)


def _local(reference: Any, moving: Any, found: Any, args: argparse.Namespace) -> Any:
    """Register tile by tile."""
    from ..tiles import local_displacements

    return local_displacements(
        reference, moving, found, tiles=args.tiles or GRID, loss=args.loss, threads=args.threads or 1
    )


def _say_written(args: argparse.Namespace, session: Session, target: str | None, local: Any, moving: Any) -> None:
    """Say what was written, or would be, and what could not be."""
    if target:
        session.say(f"{target}: {'would be written' if args.dry_run else size(moving)}")
    if local is not None and args.figure:
        session.say(f"{args.figure}: {'would be written' if args.dry_run else 'map of the tiles'}")
    if local is None and (args.tiles or args.figure):
        session.note("alignment: without one displacement to begin with, no tiles were looked at")


def _explained(found: Any, loss: str) -> list[str]:
    """Say a displacement in numbers and in words."""
    sx, sy = errors_of(found)
    across = f"{abs(found.dx):.3f} px to the {'right' if found.dx >= 0 else 'left'} of"
    along = f"{abs(found.dy):.3f} px {'below' if found.dy >= 0 else 'above'}"
    return [
        f"dx {found.dx:+.4f}{sx} px",
        f"dy {found.dy:+.4f}{sy} px",
        f"the moving image's content lies {across} and {along} the reference's",
        f"{quality(found, loss)}, {verdict(found)}",
    ]
