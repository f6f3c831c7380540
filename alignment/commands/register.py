"""``alignment register``: the displacement of one image against another."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import command, computing_options, overwrite_option, pixels
from .console import FAILED, OK, STARTING, UNCONVERGED, Session
from .targets import check_depth, check_target, make_folder, plan_outputs
from .wording import errors_of, luminance, quality, size, verdict

METHODS = ("auto", "gradient-descent", "adam", "newton", "exhaustive")  # those of `register`, not imported for --help


def add(commands: Any) -> None:
    """Add the command that registers two images."""
    parser = command(
        commands,
        "register",
        run,
        "find the displacement of one image against another",
        "alignment register reference.tif moving.tif\n"
        "alignment register reference.tif moving.tif -o aligned.tif --json",
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


def run(args: argparse.Namespace, session: Session) -> int:
    """Register one image against another; print the displacement, and write the aligned image where asked to."""
    job = None
    if args.output is not None:
        (job,) = plan_outputs([args.moving], args.output, ending="_aligned", spare=[args.reference])
    with session.clock.stage(STARTING):
        import imageio.v3  # noqa: F401

        from .. import imagefiles, registration
    try:
        with session.clock.stage("reading"):
            reference, moving = (imagefiles.read_image(name) for name in (args.reference, args.moving))
        target = job.target(Path(args.moving).suffix) if job else None
        if job and target:
            check_depth(target, moving.dtype.name, colour=moving.ndim == 3)
            if job.folder is not None and not args.dry_run:
                make_folder(job.folder)
            check_target(target, overwrite=args.overwrite, missing_folder=args.dry_run)
        with session.clock.stage("aligning"):
            found = registration.register(
                luminance(reference),
                luminance(moving),
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
        session.say(f"{target}: {'would be written' if args.dry_run else size(moving)}")
    return OK if found.success else UNCONVERGED


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
