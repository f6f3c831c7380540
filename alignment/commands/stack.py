"""``alignment stack``: the drift of a series of frames, taken out."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import command, count, many_options, overwrite_option, pixels, seed
from .console import FAILED, OK, STARTING, UNCONVERGED, Session, UsageError
from .targets import check_target

if TYPE_CHECKING:
    from ..frames import Frames
    from ..ledger import Ledger
    from ..pieces import Pieces
    from ..stacks import StackRegistration
    from .checkpoint import Checkpoint

# bytes of pixels from which on a TIFF needs 64-bit offsets; what is left of 4 GiB is for the pages' own tags
_BIG = 2**32 - 2**28
# what ImageJ is told of pages that are channels, by turns, of frames
_HYPERSTACK = "ImageJ=1.54f\nimages={}\nchannels={}\nframes={}\nhyperstack=true\n"
_SUFFIXES = {"output": (".tif", ".tiff"), "table": (".csv", ".json")}
_EXAMPLES = """\
alignment stack movie.tif -o steady.tif                       every frame laid on the first good one
alignment stack frames/ -o steady.tif --to mean --table drift.csv --figure drift.png
alignment stack "t*.tif" --to previous --lags 1 2 4 --json    the numbers only
alignment stack frames/ --to mean --table drift.json --scheduler tcp://10.0.0.1:8786    on many machines
alignment stack cells.tif -o steady.tif --channel 1            pages that are channels by turns, as ImageJ has them
alignment stack red.tif --table drift.json; alignment apply drift.json green.tif -o green_steady.tif"""


def add(commands: Any) -> None:
    """Add the command that takes the drift out of a stack."""
    parser = command(
        commands,
        "stack",
        run,
        "find the drift of a series of frames, and take it out",
        _EXAMPLES,
        many_options(),
        overwrite_option(),
    )
    parser.add_argument(
        "frames", nargs="+", metavar="FRAMES", help='TIFF files of several pages, images, folders, "patterns*"'
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT.tif", help="write the frames, laid on the reference, as pages of one TIFF"
    )
    parser.add_argument("--table", metavar="FILE", help="write a row for each frame as .csv, or all as .json")
    parser.add_argument("--figure", metavar="FILE", help="draw the drift: .png, .pdf, .svg")
    parser.add_argument(
        "--to",
        type=_to,
        default="first",
        metavar="first|previous|mean|N",
        help="what to lay frames on: the first good one, each on the one before, the mean, or frame N, counted from 0 "
        "(default: %(default)s)",
    )
    parser.add_argument("--lags", type=count, nargs="+", metavar="N", help="partners of each frame, for --to previous")
    parser.add_argument("--passes", type=count, metavar="N", help="how often the mean is made anew (default: 2)")
    parser.add_argument("--channel", type=seed, metavar="N", help="the channel to estimate from (default: their mean)")
    parser.add_argument("--max-shift", type=pixels, metavar="PX", help="the largest displacement to consider")
    parser.add_argument(
        "--max-blur", type=pixels, metavar="PX", help="the widest blur that is not yet out of focus (default: 1)"
    )
    parser.add_argument(
        "--bridge",
        choices=("interpolate", "nan"),
        default="interpolate",
        help="what bad frames get: what lies between the good ones, or nothing (default: %(default)s)",
    )
    parser.add_argument(
        "--shifts", metavar="FILE", help="estimate nothing, take the displacements of an earlier --table FILE"
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing, only say what would be written")
    parser.add_argument("--threads", type=count, metavar="N", help="threads that the numerical libraries may use")


def run(args: argparse.Namespace, session: Session) -> int:
    """Find the drift of a stack, say it, and write what was asked for."""
    targets = _targets(args)
    with session.clock.stage(STARTING):
        from .. import stacks
        from ..frames import frames_of
    unfinished: list[Checkpoint] = []
    try:
        # workers of a scheduler are at home elsewhere
        source = frames_of([os.path.abspath(name) for name in args.frames] if args.scheduler else args.frames)
        first = next(iter(source))
        for target in targets.values():
            check_target(target, overwrite=args.overwrite)
        if args.dry_run:
            return _say_what_would_be(args, session, source, first, targets)
        with session.clock.stage("aligning"):
            result = _found(args, session, source, stacks, targets, unfinished)
        with session.clock.stage("writing"):
            _write(args, session, source, result, targets)
        if "failed" in result.status:
            _say_what_is_kept(session, unfinished)
        else:
            for checkpoint in unfinished:
                checkpoint.remove()
    except KeyboardInterrupt:
        _say_what_is_kept(session, unfinished)
        raise
    except Exception as error:
        message = session.complain(error)
        _say_what_is_kept(session, unfinished)
        session.json({"success": False, "status": "failed", "message": message})
        return FAILED
    success = bool(result.success.all())
    summary = {"input": args.frames, **{name: targets.get(name) for name in ("output", "table", "figure")}}
    status = "converged" if success else "not converged"
    session.json({**summary, "success": success, "status": status, "message": str(result), **result.to_dict()})
    session.say("\n".join([str(result), *_odd(result), *targets.values()]))
    return FAILED if "failed" in result.status else OK if success else UNCONVERGED


def _to(text: str) -> str | int:
    """Read what to lay frames on."""
    if text in ("first", "previous", "mean"):
        return text
    with contextlib.suppress(ValueError):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not first, previous, mean or the number of a frame")


def _targets(args: argparse.Namespace) -> dict[str, str]:
    """Return the files to write, and refuse plans in which one would replace another or an input."""
    targets = {name: getattr(args, name) for name in ("output", "table", "figure") if getattr(args, name) is not None}
    for name, suffixes in _SUFFIXES.items():
        if name in targets and Path(targets[name]).suffix.lower() not in suffixes:
            option = "-o" if name == "output" else f"--{name}"
            raise UsageError(f"{option} is {targets[name]}; give a name that ends in {' or '.join(suffixes)}")
    if args.lags is not None and args.to != "previous":
        raise UsageError(f"--lags is for --to previous, but --to is {args.to}")
    if args.to == "previous" and (args.jobs > 1 or args.scheduler is not None):
        raise UsageError(
            "--to previous lays each frame on the one before, one after the other; give --to first or mean"
        )
    if args.passes is not None and args.to != "mean":
        raise UsageError(f"--passes is for --to mean, but --to is {args.to}")
    inputs = {os.path.realpath(name): name for name in [*args.frames, *([args.shifts] if args.shifts else [])]}
    taken: dict[str, str] = {}
    for target in targets.values():
        place = os.path.realpath(target)
        if place in inputs or os.path.dirname(place) in inputs:
            clash = inputs.get(place, inputs.get(os.path.dirname(place)))
            raise UsageError(f"{target} would be written over or into the input {clash}; give another name")
        if place in taken:
            raise UsageError(f"{target} is to be written twice; give each result a name of its own")
        taken[place] = target
    return targets


def _say_what_would_be(
    args: argparse.Namespace, session: Session, source: Frames, first: Any, targets: dict[str, str]
) -> int:
    """Say what a stack is and what would be written."""
    message = f"{source.count} frames of shape {first.shape}, {first.dtype}"
    session.json({"input": args.frames, "success": True, "status": "dry run", "message": message, **targets})
    session.say("\n".join([message, *(f"{target}: would be written" for target in targets.values())]))
    return OK


def _say_what_is_kept(session: Session, unfinished: list[Checkpoint]) -> None:
    """Say where the pieces of a run are that did not come to its end."""
    for checkpoint in unfinished:
        if checkpoint.kept:
            session.note(
                f"alignment: {checkpoint.path} holds what was found of {checkpoint.frames} frames; the same command "
                "goes on from there"
            )


def _found(
    args: argparse.Namespace,
    session: Session,
    source: Frames,
    stacks: Any,
    targets: dict[str, str],
    unfinished: list[Checkpoint],
) -> StackRegistration:
    """Return the displacements: of an earlier run, or found now behind a bar."""
    if args.shifts is not None:
        return _saved(args.shifts, source)
    options = {
        "channel": args.channel,
        "max_shift": args.max_shift,
        "bridge": args.bridge,
        **({} if args.lags is None else {"lags": tuple(args.lags)}),
        **({} if args.passes is None else {"passes": args.passes}),
        **({} if args.max_blur is None else {"max_blur": args.max_blur}),
    }
    with _bar(session, source.count, "aligning") as bar:

        def advance(done: int, total: int | None) -> None:
            bar.update(done - bar.n)

        if args.to == "previous":
            result: StackRegistration = stacks.register_stack(source, to=args.to, callback=advance, **options)
            return result
        from ..pieces import LENGTH, Pieces

        pieces = Pieces(source, to=args.to, length=LENGTH, callback=advance, **options)
        checkpoint = _checkpoint(args, source, pieces, targets)
        unfinished += [] if checkpoint is None else [checkpoint]
        return pieces.join(_done(args, pieces, checkpoint))


def holds_a_stack(path: str) -> bool:
    """Say whether a file is a table of a stack, or what else `alignment stack` has written of its displacements."""
    if Path(path).suffix.lower() == ".csv":
        return True
    with contextlib.suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8") as file:
        return file.read(1) == "{" and '"format": "alignment-stack-' in file.read()
    return False  # whoever reads it says what is wrong with it


def lay_saved(shifts: str, frames: list[str], output: str | None, args: argparse.Namespace, session: Session) -> int:
    """Lay frames where an earlier run has found others, and write them as one TIFF, for `alignment apply`."""
    from ..frames import frames_of

    if output is None:
        if len(frames) != 1 or not os.path.isfile(frames[0]):
            raise UsageError(f"{shifts} holds the drift of a stack, which is written as one file; give -o OUT.tif")
        output = f"{os.path.splitext(frames[0])[0]}_aligned.tif"
    if args.dtype is not None:
        raise UsageError(f"--dtype is for single images, but {shifts} holds the drift of a stack, whose type is kept")
    unasked = dict.fromkeys(("table", "figure", "lags", "passes", "scheduler"))
    plan = argparse.Namespace(**unasked, frames=frames, output=output, to="first", shifts=shifts, jobs=1)
    targets = _targets(plan)
    try:
        source = frames_of(frames)
        first = next(iter(source))
        check_target(output, overwrite=args.overwrite)
        result = _saved(shifts, source)
        if args.dry_run:
            return _say_what_would_be(plan, session, source, first, targets)
        with session.clock.stage("writing"):
            _write_frames(session, output, result, source, overwrite=args.overwrite)
    except Exception as error:
        message = session.complain(error)
        session.json({"shifts": shifts, "images": [], "success": False, "status": "failed", "message": message})
        return FAILED
    message = f"{len(result)} frames, displaced as {shifts} says"
    entry = {"input": frames, "output": output, "success": True, "status": "applied", "message": message}
    session.json({"shifts": shifts, "images": [entry]})
    session.say(f"{output}: {message}")
    return OK


def _saved(path: str, source: Frames) -> StackRegistration:
    """Read the displacements that an earlier run has found."""
    from .._checks import InputError
    from ..stacks import StackRegistration

    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is neither JSON nor a table; give a file that --table has written") from error
    if Path(path).suffix.lower() == ".csv":
        height, width = source.size(next(iter(source)))
        return StackRegistration.from_csv(text, (height, width))
    return StackRegistration.from_json(text)


def _checkpoint(args: argparse.Namespace, source: Frames, pieces: Pieces, targets: dict[str, str]) -> Checkpoint | None:
    """Return where finished pieces are kept: beside the first file that is to be written, if any."""
    from .checkpoint import Checkpoint, key_of

    if not targets:
        return None
    beside = next(targets[name] for name in ("table", "output", "figure") if name in targets)
    asked = {
        "to": args.to, "channel": args.channel, "passes": args.passes, "max_shift": args.max_shift,
        "count": source.count, "spans": pieces.spans,
    }  # fmt: skip
    return Checkpoint(beside, key_of(source.files, asked), pieces.spans)


def _done(args: argparse.Namespace, pieces: Pieces, checkpoint: Checkpoint | None) -> Iterator[Ledger | Exception]:
    """Yield what became of each piece: found by an interrupted run, or now, here or elsewhere."""
    from ..batch import run as run_batch

    earlier = {} if checkpoint is None else checkpoint.read()
    here = args.jobs == 1 and args.scheduler is None
    missing = [span for span in pieces.spans if span not in earlier]
    work = run_batch(pieces.heard if here else pieces.work, missing, jobs=args.jobs, scheduler=args.scheduler)
    with contextlib.closing(work) as outcomes:  # type: ignore[type-var]
        for span in pieces.spans:
            if span in earlier:
                yield earlier.pop(span)
                continue
            outcome = next(outcomes)
            if outcome.error is not None:
                if here:  # one that nobody elsewhere can register is no end of the others
                    raise outcome.error
                yield outcome.error
                continue
            if checkpoint is not None:
                checkpoint.add(span, outcome.value)
            yield outcome.value


@contextlib.contextmanager
def _bar(session: Session, total: int | None, stage: str) -> Iterator[Any]:
    """Show on stderr how many frames are done, and how many in a second, if someone is watching."""
    from tqdm import tqdm

    quiet = True if session.args.quiet else None
    with tqdm(total=total, desc=stage, unit=" frames", leave=False, file=sys.stderr, disable=quiet) as bar:
        yield bar


def _write(
    args: argparse.Namespace, session: Session, source: Frames, result: StackRegistration, targets: dict[str, str]
) -> None:
    """Write the frames, the table and the figure, which is drawn first: nothing is written if that fails."""
    figure = result.plot().figure if "figure" in targets else None
    if "output" in targets:
        _write_frames(session, targets["output"], result, source, overwrite=args.overwrite)
    if "table" in targets:
        save = result.to_json if Path(targets["table"]).suffix.lower() == ".json" else result.to_csv
        save(targets["table"], overwrite=args.overwrite)
    if figure is not None:
        from .. import plots

        plots.save(figure, targets["figure"], overwrite=args.overwrite)


def _write_frames(session: Session, target: str, result: StackRegistration, source: Frames, *, overwrite: bool) -> None:
    """Write the frames laid on the reference, page by page, under a temporary name until all are there."""
    import tifffile

    from ..imagefiles import replace_file

    with replace_file(target, overwrite=overwrite) as file, _bar(session, len(result), "writing") as bar:
        writer = None
        try:
            for frame in result.apply(source):
                planes = frame if frame.ndim == 3 and not source.colour_last else [frame]
                if writer is None:
                    writer = tifffile.TiffWriter(file, bigtiff=frame.nbytes * len(result) > _BIG)
                    told = _HYPERSTACK.format(len(planes) * len(result), len(planes), len(result))
                    words: dict[str, Any] = {"description": told} if len(planes) > 1 else {}
                for page in planes:
                    colour = "rgb" if page.ndim == 3 else "minisblack"
                    writer.write(page, photometric=colour, contiguous=False, metadata=None, **words)
                    words = {}
                bar.update()
        finally:
            if writer is not None:
                writer.close()


def _odd(result: StackRegistration, most: int = 10) -> list[str]:
    """Say which frames were bridged, and why."""
    odd = [n for n, good in enumerate(result.success.tolist()) if not good]
    lines = [f"  frame {n}: {result.status[n]}: {result.message[n]}" for n in odd[:most]]
    return [*lines, f"  and {len(odd) - most} more, see the table"] if len(odd) > most else lines
