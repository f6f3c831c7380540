"""One plate from file to file, wherever it is done: in this process, another, or on another machine."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .console import plain
from .finishing import Finish, describe, encode
from .summary import closure_of
from .targets import Job, check_depth, check_target, make_folder
from .wording import found_line, size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..sidecar import Fingerprint, Record

_INCHES = 125  # pixels per inch of a figure
_NOTHING_NEW = "from this plate with these options by this version"


@dataclass(frozen=True)
class Task:
    """What is to be done to one plate.

    Attributes
    ----------
    job : Job
        Which file, and where its picture goes.
    choices : dict
        Options of `plates.colorize`, as JSON holds them.
    finish : Finish
        Depth and colours.
    figure : str or bool
        The file for the figure; True for one beside the picture.
    overwrite, force, dry_run : bool
        As on the command line.
    resume : bool
        Whether a plate that is done is left alone without a word of refusal.
    threads : int
    """

    job: Job
    choices: Mapping[str, Any]
    finish: Finish = field(default_factory=Finish)
    figure: str | bool = False
    overwrite: bool = False
    force: bool = False
    resume: bool = True
    dry_run: bool = False
    threads: int = 1

    @property
    def options(self) -> dict[str, Any]:
        """Everything that has a say in the picture, as a record holds it."""
        return {**self.choices, **self.finish.options()}

    @property
    def record_file(self) -> str:
        """Where the record goes."""
        from ..sidecar import record_path

        return record_path(self.job.target(".png"))

    @property
    def figure_file(self) -> str | None:
        """Where the figure goes."""
        if not self.figure:
            return None
        if isinstance(self.figure, str):
            return self.figure
        return self.record_file.removesuffix("_shifts.json") + "_figure.png"


@dataclass
class Done:
    """What became of a plate: its JSON entry, the lines for people, the seconds of each stage, and what went wrong."""

    entry: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    trouble: Exception | None = None
    report: Callable[[str], None] | None = None

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say what is being done, and how long it took."""
        if self.report is not None:
            self.report(name)
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - begun


def make(task: Task, report: Callable[[str, str], None] | None = None) -> Done:
    """Turn one plate into a colour photograph, unless that is done already.

    Parameters
    ----------
    task : Task
    report : callable, optional
        Called as ``report(source, stage)`` when a stage begins.

    Returns
    -------
    Done

    Raises
    ------
    InputError
        If the plate cannot be read or the picture cannot be written.
    """
    from .._checks import InputError

    source = task.job.source
    done = Done(report=None if report is None else lambda stage: report(source, stage))
    with done.stage("reading"):
        earlier = _done_before(task)
    if earlier is not None:
        return _again(task, earlier, done)
    try:
        return _make(task, done)
    except InputError:
        # two runs at once, or a worker that outlived its run by one plate
        meanwhile = _done_before(task)
        if meanwhile is None:
            raise
        done.lines.clear()
        return _again(task, meanwhile, done)


def _make(task: Task, done: Done) -> Done:
    """Do what `make` does, with a plate that is not done."""
    source = task.job.source
    with done.stage("reading"):
        earlier = _earlier(task)
        plate, resolution, fingerprint = _read(source)
    stored = task.finish.stored(plate.dtype.name)
    target = task.job.target(".png" if stored == "uint8" else ".tif")
    check_depth(target, stored, convertible=True)
    done.lines.append(f"{source}: {size(plate)}")
    may_replace = _check_targets(task, target, earlier)
    if task.dry_run:
        return _would(task, target, done)
    with done.stage("aligning"):
        made = _colorize(plate, task)
    from ..sidecar import Record

    with done.stage("writing"):
        rgb, adjustment = task.finish.colours(made.rgb, stored)
        result = plain(made.to_dict() | ({} if adjustment is None else {"colours": adjustment.to_dict()}))
        moves = {name: (found.dx, found.dy) for name, found in made.registrations.items()}
        text = describe(fingerprint.to_dict(), plate.shape, made.reference, moves, made.crop, adjustment)
    height, width = plate.shape[:2]
    record = Record(
        fingerprint, (height, width), task.options, result, replaces=_known(earlier, target, task.figure_file)
    )
    page = None
    if task.figure_file is not None:
        with done.stage("drawing the figure"), _explained_later(task.figure_file, done):
            figure = _figure(plate, made, source)
            del plate  # which is large: the figure has what it needs of it
            page = _as_file(figure, task.figure_file)
    with done.stage("writing"):
        _write(task, target, rgb, _encoder(stored, text, resolution), record, page, may_replace)
    done.lines += [*_found(made, result, task.choices["loss"]), f"  {target}: {size(rgb, stored)}"]
    if adjustment is not None:
        done.lines.append(f"  colours: {_colours(adjustment, made.rgb)}")
    drawn = None if page is None else task.figure_file
    done.entry = {"input": source, "output": target, **result, "figure": drawn, "done_before": False}
    done.report = None  # what comes back may have to travel
    return done


def _found(made: Any, result: Mapping[str, Any], loss: str) -> list[str]:
    """Say what the alignment has found."""
    lines = [f"  {name:5}  {found_line(r, loss)}" for name, r in made.registrations.items()]
    gap = closure_of(result)
    if gap is not None:
        lines.append(f"  going round the three channels ends {gap:.2f} px from where it began")
    return [*lines, f"  {made.message}"]


def _encoder(
    stored: str, text: str, resolution: tuple[float, float] | None
) -> Callable[[Any, str, NDArray[Any]], None]:
    """Return what writes a picture with its metadata into an open file."""
    return lambda file, target, rgb: encode(file, target, rgb, stored, text, resolution)


def _read(source: str) -> tuple[NDArray[Any], tuple[float, float] | None, Fingerprint]:
    """Read a plate, its resolution, and what tells it from every other file."""
    from .._checks import InputError
    from ..imagefiles import read_image, read_resolution
    from ..sidecar import Fingerprint

    before = os.stat(source) if os.path.isfile(source) else None
    plate, resolution = read_image(source), read_resolution(source)
    fingerprint = Fingerprint.of(source)
    if before is None or (before.st_size, before.st_mtime_ns) != (fingerprint.size, fingerprint.mtime_ns):
        raise InputError(f"{source} was changed while it was read; wait until it is complete")
    return plate, resolution, fingerprint


def _colorize(plate: NDArray[Any], task: Task) -> Any:
    """Align a plate; options that were left alone are left out."""
    from .. import plates

    choices = task.choices
    options = {key: choices[key] for key in ("reference", "loss", "order", "crop")}
    if isinstance(options["crop"], list):
        options["crop"] = tuple(options["crop"])
    if choices["features"] != "auto":
        options["features"] = choices["features"]
    if choices["max_shift"] is not None:
        options["max_shift"] = choices["max_shift"]
    if choices["exposures"] is not None:
        options["exposures"] = {name: tuple(value) for name, value in choices["exposures"].items()}
    return plates.colorize(plate, **options, threads=task.threads)


# what was done before


def _earlier(task: Task) -> Record | None:
    """Return the record of an earlier run, if there is one that can be read."""
    from .._checks import InputError
    from ..sidecar import read_record

    if not os.path.lexists(task.record_file):
        return None
    with contextlib.suppress(InputError):
        return read_record(task.record_file)
    return None


def _done_before(task: Task) -> Record | None:
    """Return the record of an earlier run that has done all that is to be done, if it may be left at that."""
    if not task.resume or task.force:
        return None
    earlier = _earlier(task)
    return earlier if earlier is not None and _unchanged(task, earlier) else None


def _unchanged(task: Task, earlier: Record) -> bool:
    """Return whether all that is asked for was made before, from the same file, and still is what was made."""
    return (
        not _differences(task, earlier)
        and _of_this_version(earlier)
        and earlier.output is not None
        and _fits(earlier.output.name, task)
        and earlier.output.matches(_beside(task, earlier.output.name))
        and (task.figure_file is None or _is_figure(task.figure_file, earlier))
    )


def _differences(task: Task, earlier: Record) -> list[str]:
    """Say what was asked for at an earlier run and is not now."""
    said = []
    if earlier.input.name != os.path.basename(task.job.source) or not earlier.input.matches(task.job.source):
        said.append("from another plate, or another state of it")
    options = plain(task.options)
    changed = sorted(key for key in options if options[key] != earlier.options.get(key))
    if changed:
        said.append(f"with another {' and '.join(changed)}")
    return said


def _of_this_version(earlier: Record) -> bool:
    """Return whether the version that is running made it."""
    from .. import __version__

    return earlier.version == __version__


def _fits(name: str, task: Task) -> bool:
    """Return whether a picture has the name that this one would get, whatever its suffix where that is open."""
    target = os.path.basename(task.job.target(""))
    return name == target if task.job.file is not None else os.path.splitext(name)[0] == target


def _beside(task: Task, name: str) -> str:
    """Return the path of a file that a record names."""
    return os.path.join(os.path.dirname(task.record_file), name)


def _is_figure(figure: str, earlier: Record) -> bool:
    """Return whether a figure is the one that was drawn."""
    made = earlier.figure
    return made is not None and made.name == os.path.basename(figure) and made.matches(figure)


def _again(task: Task, earlier: Record, done: Done) -> Done:
    """Return what an earlier run found."""
    target = None if earlier.output is None else _beside(task, earlier.output.name)
    done.lines += [f"{task.job.source}: done before, and nothing has changed; --force does it again"]
    for name, (dx, dy) in earlier.displacements.items():
        done.lines.append(f"  {name:5}  dx {dx:+8.3f} px   dy {dy:+8.3f} px")
    done.lines += [f"  {earlier.result.get('message')}", f"  {target}"]
    status = {key: earlier.result.get(key) for key in ("success", "status", "message")}
    status["success"] = status["success"] is True
    done.entry = {"input": task.job.source, "output": target, **earlier.result, **status}
    done.entry |= {"figure": task.figure_file, "done_before": True}
    done.report = None
    return done


def _check_targets(task: Task, target: str, earlier: Record | None) -> dict[str | None, bool]:
    """Refuse to replace what must not be replaced; return for each file whether it may be.

    With ``--overwrite`` anything may. Without it only what an interrupted run has left, or another version has made of
    the same plate with the same options; with ``--force`` also what this package has made with others. Whatever
    somebody has changed since stays.
    """
    if not task.dry_run and task.job.folder is not None:
        make_folder(task.job.folder)
    files = (target, task.record_file, task.figure_file)
    may_replace = dict.fromkeys(files, True) if task.overwrite else _ours(task, target, earlier)
    for file in files:
        if file is not None:
            with _explained(task, file, target, earlier):
                check_target(file, overwrite=may_replace[file], missing_folder=task.dry_run)
    return may_replace


def _ours(task: Task, target: str, earlier: Record | None) -> dict[str | None, bool]:
    """Say which of the files may be replaced without being asked to."""
    files = (target, task.record_file, task.figure_file)
    if earlier is None:
        return dict.fromkeys(files, False)
    made = None if earlier.output is None else _beside(task, earlier.output.name)
    intact = made is not None and bool(_known(earlier, made))
    unfinished = not intact and not (made is not None and os.path.lexists(made))
    again = intact and (task.force or (task.resume and not _differences(task, earlier)))
    same = again and os.path.realpath(str(made)) == os.path.realpath(target)
    figure = task.figure_file is not None and bool(_known(earlier, task.figure_file))
    return {
        target: same,
        task.record_file: same or unfinished,
        task.figure_file: figure and (same or unfinished),
    }


def _known(earlier: Record | None, *files: str | None) -> tuple[Fingerprint, ...]:
    """Return the fingerprints of those files that stand there as an earlier run has left them.

    Between the renaming of a new record and of what it describes, these are the files that it replaces.
    """
    if earlier is None:
        return ()
    ours = [one for one in (earlier.output, earlier.figure, *earlier.replaces) if one is not None]
    there = [file for file in files if file is not None and os.path.lexists(file)]
    return tuple(one for file in there for one in ours if one.name == os.path.basename(file) and one.matches(file))


@contextlib.contextmanager
def _explained(task: Task, file: str, target: str, earlier: Record | None) -> Iterator[None]:
    """Say of a picture that may not be replaced how it differs from the one that is asked for."""
    from .._checks import InputError

    try:
        yield
    except InputError as error:
        if earlier is None or earlier.output is None or file not in (target, task.record_file):
            raise
        said = _history(task, earlier)
        if not said or not os.path.lexists(file):
            raise
        again = "make it again" if said == _NOTHING_NEW else "replace it"
        elsewhere = "folder" if task.job.folder is not None else "name"
        raise InputError(
            f"{file} exists already, made {said}; give --overwrite to {again}, or another {elsewhere} with -o"
        ) from error


def _history(task: Task, earlier: Record) -> str:
    """Say how a picture was made that stands where another is to be written; nothing if somebody has changed it."""
    said = _differences(task, earlier)
    if not _of_this_version(earlier):
        said.append(f"by version {earlier.version}")
    if not said and _unchanged(task, earlier):
        return _NOTHING_NEW
    return ", ".join(said)


# writing


def _write(
    task: Task,
    target: str,
    rgb: NDArray[Any],
    encode_into: Callable[[Any, str, NDArray[Any]], None],
    record: Record,
    figure: bytes | None,
    may_replace: Mapping[str | None, bool],
) -> None:
    """Write picture, record and figure: each complete or not at all, and none that the record does not know.

    The record takes its name first. Who is stopped between the renamings leaves a record that says what is missing, and
    never a picture that nobody knows.
    """
    from ..imagefiles import replace_file
    from ..sidecar import Fingerprint

    with contextlib.ExitStack() as files:
        drawn: Fingerprint | None = None
        if figure is not None and task.figure_file is not None:
            file = files.enter_context(replace_file(task.figure_file, overwrite=may_replace[task.figure_file]))
            file.write(figure)
            drawn = Fingerprint.of_open(file, os.path.basename(task.figure_file))
        with replace_file(target, overwrite=may_replace[target]) as file:
            encode_into(file, target, rgb)
            written = Fingerprint.of_open(file, os.path.basename(target))
            full = dataclasses.replace(record, output=written, figure=drawn)
            full.write(task.record_file, overwrite=may_replace[task.record_file])


@contextlib.contextmanager
def _explained_later(figure_file: str, done: Done) -> Iterator[None]:
    """Note what keeps the figure from being drawn, which does not keep the picture from being made."""
    from .._checks import InputError

    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":").removesuffix(".")
        done.trouble = InputError(
            f"the figure {figure_file} could not be drawn ({reason}), the picture is written without it; "
            "run again with -vv and report what it prints"
        )
        done.trouble.__cause__ = error


def _figure(plate: NDArray[Any], made: Any, source: str) -> Any:
    """Return the figure of what happened."""
    from ..plots import plate_figure

    return plate_figure(plate, made, title=os.path.basename(source))


def _as_file(figure: Any, figure_file: str) -> bytes:
    """Return a figure as the file holds it."""
    buffer = io.BytesIO()
    kind = os.path.splitext(figure_file)[1].lower().removeprefix(".")
    figure.savefig(buffer, format=kind, dpi=_INCHES)
    return buffer.getvalue()


def _would(task: Task, target: str, done: Done) -> Done:
    """Return what would be done."""
    message = f"would be written to {target}"
    done.lines.append(f"  {message}")
    done.entry = {"input": task.job.source, "output": target, "success": True, "status": "dry run", "message": message}
    done.entry |= {"reference": task.choices["reference"], "exposures": {}, "crop": None, "registrations": {}}
    done.entry["done_before"] = False
    done.report = None
    return done


def _colours(adjustment: Any, rgb: NDArray[Any]) -> str:
    """Say what was done to the colours."""
    gains = ", ".join(f"{gain:.3f}" for gain in adjustment.gains)
    return (
        f"red, green, blue times {gains}; black {adjustment.black:.4f}, white {adjustment.white:.4f}, gamma "
        f"{adjustment.gamma:g}; {adjustment.clipped(rgb):.2%} of the levels clipped"
    )
