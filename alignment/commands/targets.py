"""Where results go: the plan of outputs, and the checks that come before the work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .console import UsageError, sentence_of


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
        from .._checks import InputError
        from ..imagefiles import image_format

        if len(sources) > 1:
            raise UsageError(f"{file} is one file, but there are {len(sources)} inputs; give a folder with -o")
        try:
            image_format(file)
        except InputError as error:
            raise UsageError(sentence_of(error)) from error
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


def make_folder(folder: Path) -> None:
    """Make the folder for results where it is missing."""
    from .._checks import InputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise InputError(
            f"{folder} is to be the folder for the results but is a file; choose another with -o"
        ) from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(f"the folder {folder} cannot be made ({reason}); choose another with -o") from error


def check_target(target: str, *, overwrite: bool, missing_folder: bool = False) -> None:
    """Find out whether a file can be written, without leaving anything behind."""
    from .._checks import InputError
    from ..imagefiles import check_writable

    if not overwrite and os.path.lexists(target) and not os.path.isdir(target):
        raise InputError(f"{target} exists already; give --overwrite to replace it, or another name with -o")
    if missing_folder and not os.path.isdir(os.path.dirname(target) or "."):
        return
    check_writable(target, overwrite=overwrite)


def check_depth(target: str, dtype: str, *, colour: bool = True, convertible: bool = False) -> None:
    """Refuse, before the work, a format that cannot hold the result; `convertible` where --dtype is an option."""
    from .._checks import InputError
    from ..imagefiles import image_format

    kind = image_format(target)
    if kind == "TIFF" or dtype == "uint8" or (kind == "PNG" and dtype == "uint16" and not colour):
        return
    kind = f"{kind} in colour" if kind == "PNG" and dtype == "uint16" else kind
    advice = "name it .tif, or give --dtype 8" if convertible else "name it .tif"
    raise InputError(f"{target} is to hold {dtype}, which {kind} cannot; {advice}")
