"""``alignment apply``: displacements that were found before, applied without estimating anything."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import colour_options, command, crop, overwrite_option
from .console import FAILED, OK, STARTING, Bar, Session, UsageError
from .finishing import DEPTHS, Finish, describe, encode
from .sources import expand
from .stack import holds_a_stack, lay_saved
from .targets import Job, check_depth, check_target, make_folder, plan_outputs
from .wording import size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..registration import Registration
    from ..sidecar import Record

_EXAMPLES = """\
alignment apply plate_shifts.json plate.tif -o again.tif         the photograph once more, from saved displacements
alignment apply plate_shifts.json plate.tif -o web.jpg --dtype 8 --balance gray-world --contrast
alignment apply plate_shifts.json other_scans -o photographs     the same displacements for other images
alignment register a.tif b.tif --json > ab.json; alignment apply ab.json b.tif
alignment stack red.tif --table drift.json; alignment apply drift.json green.tif -o green_steady.tif"""


def add(commands: Any) -> None:
    """Add the command that applies displacements that were saved."""
    parser = command(
        commands,
        "apply",
        run,
        "apply displacements that colorize, register or stack has saved, without estimating anything",
        _EXAMPLES,
        colour_options(),
        overwrite_option(),
    )
    parser.add_argument(
        "shifts",
        metavar="SHIFTS",
        help="a PLATE_shifts.json of colorize, a --table of stack, or what register --json has printed",
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help='plates, images to lay on a reference, or the frames of a stack: files, folders, "patterns*"',
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE|FOLDER",
        help="a file, for one image, or a folder, made if it is missing (default: IMAGE_color or IMAGE_aligned beside "
        "the image)",
    )
    parser.add_argument(
        "--crop",
        type=crop,
        metavar="auto|overlap|none|RECTANGLE",
        help="what to keep of a plate (default: the rectangle that was saved)",
    )
    parser.add_argument(
        "--dtype", choices=DEPTHS, help="bits per channel (default: as saved for a plate, as the image's otherwise)"
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing, only say what would be written")


def run(args: argparse.Namespace, session: Session) -> int:
    """Apply saved displacements to each image; one that fails does not keep the others from being done."""
    if holds_a_stack(args.shifts):
        _refuse_colours(args, "the drift of a stack")
        return lay_saved(args.shifts, args.images, args.output, args, session)
    with session.bar(1, "image") as waiting:
        waiting.stage("starting")
        with session.clock.stage(STARTING):
            import imageio.v3  # noqa: F401

            from ..imagefiles import IMAGE_SUFFIXES
            from ..sidecar import made_by_us
        saved = _saved(args.shifts)
        sources, _ = expand(args.images, IMAGE_SUFFIXES, made_by_us)
        if not sources:
            raise UsageError("these are all pictures that alignment has made; give the scans themselves")
        ending = "_color" if _is_plate(saved) else "_aligned"
        jobs = plan_outputs(sources, args.output, ending=ending, spare=[args.shifts])
        _check_options(args, saved)
    entries = []
    with session.bar(len(jobs), "image") as bar:
        for job in jobs:
            entries.append(_applied_or_explained(job, saved, args, session, bar))
            bar.advance()
    session.json({"shifts": args.shifts, "images": entries})
    failed = sum(entry["status"] == "failed" for entry in entries)
    if len(entries) > 1:
        session.say(f"{len(entries)} images: {len(entries) - failed} done, {failed} failed")
    return FAILED if failed else OK


def _saved(path: str) -> Record | Registration:
    """Read what was saved: the record of a plate, or the registration of a pair."""
    from .._checks import InputError
    from ..registration import Registration
    from ..sidecar import parse_record, read_json

    data = read_json(path)
    if isinstance(data, dict) and "schema" in data:
        return parse_record(data, path)
    if isinstance(data, dict) and "theta" in data and "dx" in data:
        import json

        try:
            found = Registration.from_json(json.dumps(data))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if not all(isinstance(v, int | float) and abs(v) <= 1e6 for v in (found.dx, found.dy)):
            raise InputError(f"{path} holds the displacement {(found.dx, found.dy)!r}; give two numbers of pixels")
        return found
    raise InputError(
        f"{path} holds no displacements that are known here; give a _shifts.json that colorize has written, a "
        "--table of stack, or the output of register --json"
    )


def _is_plate(saved: Record | Registration) -> bool:
    """Return whether a plate was saved."""
    from ..sidecar import Record

    return isinstance(saved, Record)


def _check_options(args: argparse.Namespace, saved: Record | Registration) -> None:
    """Refuse options that only make sense for a plate."""
    if not _is_plate(saved):
        _refuse_colours(args, "the displacement of a pair")


def _refuse_colours(args: argparse.Namespace, what: str) -> None:
    """Refuse the options of a photograph where none is made."""
    for name in ("crop", "balance", "contrast", "percentiles", "gamma"):
        if getattr(args, name) is not None:
            raise UsageError(f"--{name} is for plates, but {args.shifts} holds {what}; leave it out")


def _applied_or_explained(
    job: Job, saved: Record | Registration, args: argparse.Namespace, session: Session, bar: Bar
) -> dict[str, Any]:
    """Return the JSON entry of an image, also of one that failed."""
    bar.stage(os.path.basename(job.source))
    try:
        with session.clock.stage("reading"):
            from ..imagefiles import read_image, read_resolution

            image, resolution = read_image(job.source), read_resolution(job.source)
        with session.clock.stage("applying"):
            one = _Applied(job.source, image, resolution, saved, args)
        target = job.target(one.suffix)
        check_depth(target, one.stored, colour=one.colour, convertible=True)
        if job.folder is not None and not args.dry_run:
            make_folder(job.folder)
        check_target(target, overwrite=args.overwrite, missing_folder=args.dry_run)
        if not args.dry_run:
            with session.clock.stage("writing"):
                one.write(target, overwrite=args.overwrite)
    except Exception as error:
        message = session.complain(error, job.source)
        return {"input": job.source, "output": None, "success": False, "status": "failed", "message": message}
    session.say(f"{job.source}: {'would be written to ' if args.dry_run else ''}{target}: {one.described()}")
    entry = {"input": job.source, "output": target, "success": True, "message": one.described(), "crop": one.crop}
    return entry | {"status": "dry run" if args.dry_run else "applied"}


class _Applied:
    """One image with the displacements applied, and how it is to be written.

    Parameters
    ----------
    source : str
    image : ndarray
    resolution : (float, float) or None
    saved : Record or Registration
    args : Namespace
    """

    def __init__(
        self,
        source: str,
        image: NDArray[Any],
        resolution: tuple[float, float] | None,
        saved: Record | Registration,
        args: argparse.Namespace,
    ) -> None:
        from ..sidecar import Record

        self.resolution = resolution
        self.crop: tuple[int, int, int, int] | None = None
        if isinstance(saved, Record):
            self._compose(source, image, saved, args)
        else:
            self._shift(source, image, saved, args)

    @property
    def colour(self) -> bool:
        """Whether it has three channels."""
        return self.picture.ndim == 3

    def described(self) -> str:
        """Return its size and depth."""
        return size(self.picture, self.stored)

    def write(self, target: str, *, overwrite: bool) -> None:
        """Write it."""
        from ..imagefiles import replace_file

        with replace_file(target, overwrite=overwrite) as file:
            space = None if self.crop is None else "srgb"  # of an image that is no plate nobody knows it
            encode(file, target, self.picture, self.stored, self._text, self.resolution, colour_space=space)

    def _compose(self, source: str, plate: NDArray[Any], record: Record, args: argparse.Namespace) -> None:
        """Make the photograph of a plate."""
        from .._checks import InputError
        from ..plates import compose
        from ..sidecar import Fingerprint

        if plate.shape[:2] != record.shape:
            height, width = record.shape
            raise InputError(
                f"{source} has {plate.shape[1]} x {plate.shape[0]} px, but the displacements were found on "
                f"{width} x {height} px; give a scan of that size"
            )
        finish = Finish.recorded(args, record.options)
        self.stored = finish.stored(plate.dtype.name)
        self.suffix = ".png" if self.stored == "uint8" else ".tif"
        inverted = record.result.get("inverted") is True
        rgb, self.crop = compose(
            plate,
            record.exposures,
            record.displacements,
            reference=record.reference,
            crop=record.crop if args.crop is None else args.crop,
            inverted=inverted,
        )
        self.picture, adjustment = finish.colours(rgb, self.stored)
        origin = record.input.to_dict()
        if not record.input.matches(source):
            origin = dataclasses.replace(Fingerprint.of(source), name=os.path.basename(source)).to_dict()
        self._text = describe(origin, plate.shape, record.reference, record.displacements, self.crop, adjustment)

    def _shift(self, source: str, image: NDArray[Any], found: Registration, args: argparse.Namespace) -> None:
        """Lay an image on the reference that another was registered with."""
        from ..imagefiles import as_float

        finish = Finish(args.dtype or "keep")
        self.stored = finish.stored(image.dtype.name)
        moved = found.apply(image)
        self.picture = as_float(moved) if self.stored == "float32" else moved
        suffix = Path(source).suffix
        self.suffix = suffix if args.dtype is None else ".png" if self.stored == "uint8" else ".tif"
        self._text = (
            f"Displaced by alignment by dx {found.dx:+.4f}, dy {found.dy:+.4f} px: "
            "aligned(x, y) = moving(x + dx, y + dy)."
        )
