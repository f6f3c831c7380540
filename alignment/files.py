"""Files as the system knows them: their names, their kinds, and its errors in one sentence."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from ._checks import InputError, in_words

Pathlike = str | os.PathLike[str]

_REASONS: Final = {
    errno.ENOENT: ("it does not exist", "check the path"),
    errno.ENOTDIR: ("a part of its path is not a folder", "check the path"),
    errno.EACCES: ("permission is denied", "change the permissions or choose another place"),
    errno.EPERM: ("permission is denied", "change the permissions or choose another place"),
    errno.EROFS: ("it lies on a read-only file system", "choose another place"),
    errno.ENOSPC: ("the disk is full", "free some space or choose another disk"),
    errno.ENAMETOOLONG: ("its name is too long", "choose a shorter one"),
    errno.ELOOP: ("its symbolic links go round in a circle", "check the path"),
    errno.EISDIR: ("it is a folder", "give the name of a file"),
}


def name_of(path: Pathlike) -> str:
    """Return a path as text."""
    try:
        return os.fsdecode(path)
    except TypeError as error:
        raise InputError(
            f"the path is {in_words(path)}; give the name of a file as text or as a pathlib.Path."
        ) from error


def kind_of_file(mode: int) -> str:
    """Say what a file is that is no ordinary one, by the mode that the system gives."""
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def explain(name: str, action: str, error: OSError) -> str:
    """Return one sentence for an error of the system: what cannot be "read" or "written", why, and what to do."""
    unknown = (
        (error.strerror or str(error) or type(error).__name__).rstrip(".").lower(),
        "check the disk and the path",
    )
    reason, advice = _REASONS.get(error.errno or 0, unknown)
    return f"{name} cannot be {action}, because {reason}; {advice}."
