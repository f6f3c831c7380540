"""``alignment colorize``: plates into colour photographs."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import command, computing_options, overwrite_option
from .console import FAILED, KERNELS, OK, STARTING, UNCONVERGED, Session, Stopwatch
from .targets import Job, check_depth, check_target, make_folder, plan_outputs
from .wording import found_line, size


def add(commands: Any) -> None:
    """Add the command that turns plates into colour photographs."""
    parser = command(
        commands,
        "colorize",
        run,
        "turn scanned plates, three grey exposures stacked vertically, into colour photographs",
        "alignment colorize plate.jpg                      writes plate_color.png beside it\n"
        "alignment colorize scans/*.tif -o photographs     writes photographs/..._color.tif\n"
        "alignment colorize plate.tif -o out.png --dtype 8",
        computing_options(),
        overwrite_option(),
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


def run(args: argparse.Namespace, session: Session) -> int:
    """Turn plates into colour photographs; one that fails does not keep the others from being done."""
    jobs = plan_outputs(args.plates, args.output, ending="_color")
    with session.clock.stage(STARTING):
        import imageio.v3  # noqa: F401

        from .. import imagefiles, plates  # noqa: F401
    if args.verbose:
        with session.clock.stage(KERNELS):
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

    from .. import plates

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
    from .. import imagefiles, plates

    with clock.stage("reading"):
        plate = imagefiles.read_image(job.source)
    dtype = {"keep": plate.dtype.name, "8": "uint8", "16": "uint16"}[args.dtype]
    target = job.target(".png" if dtype == "uint8" else ".tif")
    check_depth(target, dtype)
    lines = [f"{job.source}: {size(plate)}"]
    if args.dry_run:
        check_target(target, overwrite=args.overwrite, missing_folder=True)
        message = f"would be written to {target}"
        entry = {"input": job.source, "output": target, "success": True, "status": "dry run", "message": message}
        entry |= {"reference": args.reference, "exposures": {}, "crop": None, "registrations": {}}
        return entry, [*lines, f"  {message}"]
    if job.folder is not None:
        make_folder(job.folder)
    check_target(target, overwrite=args.overwrite)
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
    lines += [f"  {name:5}  {found_line(r, args.loss)}" for name, r in made.registrations.items()]
    lines += [f"  {made.message}", f"  {target}: {size(made.rgb, kept)}"]
    return {"input": job.source, "output": target, **made.to_dict()}, lines
