"""A file replaced: all of it appears, or nothing.

It is written under a temporary name in the same folder, flushed to the disk, and renamed when it is complete, so that
nobody ever finds half a file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

from ._checks import InputError
from .files import Pathlike, explain, kind_of_file, name_of

__all__ = ["check_writable", "replace_file"]


def check_writable(path: Pathlike, *, overwrite: bool = False) -> None:
    """Find out before the work begins whether `replace_file` will be able to write a file.

    Parameters
    ----------
    path : str or path
        The file to be written later. Nothing is left behind by the check.
    overwrite : bool
        Whether a file of this name may be replaced.

    Raises
    ------
    InputError
        If the file exists and `overwrite` is false, if it is a folder or a device, if it is write-protected, or if its
        folder is missing or lets no file be created.

    Examples
    --------
    >>> from alignment.replacement import check_writable
    >>> check_writable("no/such/folder/out.png")
    Traceback (most recent call last):
    ...
    alignment._checks.InputError: no/such/folder/out.png cannot be written, because the folder no/such/folder does not
    exist; create it first.
    """
    name = name_of(path)
    target = _check_target(name, overwrite=overwrite)
    file = _create_beside(name, target)
    file.close()
    os.unlink(file.name)


@contextlib.contextmanager
def replace_file(path: Pathlike, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Write any file so that either all of it appears or nothing.

    Parameters
    ----------
    path : str or path
        The file to write. A symbolic link is followed, and the file it points to is replaced.
    overwrite : bool
        Replace a file that is already there; otherwise it is refused, also when it appears during the writing.

    Yields
    ------
    binary file
        Open for writing and reading. It has a random name in the same folder, and becomes `path` when the block ends
        without an error; otherwise it is removed.

    Raises
    ------
    InputError
        If the file cannot be written; every error of the system while the block runs becomes one sentence.

    Notes
    -----
    The new file has the permissions that the umask leaves, or those of the file that it replaces.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from alignment.replacement import replace_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "shifts.json")
    ...     with replace_file(path) as file:
    ...         _ = file.write(b"{}")
    ...     path.read_text()
    '{}'
    """
    name = name_of(path)
    target = _check_target(name, overwrite=overwrite)
    file = _create_beside(name, target)
    try:
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _rename(name, file.name, target, overwrite=overwrite)
        except OSError as error:
            raise InputError(explain(name, "written", error)) from error
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(file.name)
        raise
    _flush_folder(os.path.dirname(target))


def _check_target(name: str, *, overwrite: bool) -> str:
    """Return the real path to write to, or raise the reason why it will not be written."""
    try:
        target = os.path.realpath(name)
        folder = os.path.dirname(target)
        shown = os.path.dirname(name) or "."
        if not os.path.basename(name):
            raise InputError(f"{name!r} names no file to write; give a name such as aligned.tif.")
        if os.path.isdir(target):
            raise InputError(f"{name} is a folder, so no file of this name can be written; give the name of a file.")
        if not os.path.isdir(folder):
            wrong = "is not a folder" if os.path.exists(folder) else "does not exist"
            advice = "choose another" if os.path.exists(folder) else "create it first"
            raise InputError(f"{name} cannot be written, because the folder {shown} {wrong}; {advice}.")
        try:
            mode = os.stat(target).st_mode
        except FileNotFoundError:
            return target
    except OSError as error:
        raise InputError(explain(name, "written", error)) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name!r} cannot be the name of a file, for it holds a null character; remove it.") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{name} is {kind_of_file(mode)}, which is not written to; give the name of an ordinary file.")
    if not overwrite:
        raise InputError(_exists(name))
    if not os.access(target, os.W_OK):
        raise InputError(
            f"{name} is write-protected and will not be replaced; lift the protection or choose another name."
        )
    return target


def _exists(name: str) -> str:
    """Say that a file is there already."""
    return f"{name} exists already and will not be replaced; ask for overwriting, or choose another name."


def _create_beside(name: str, target: str) -> BinaryIO:
    """Create an empty file with a random name beside the target, with the permissions the target shall have."""
    temporary = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.tmp")
    try:
        file = open(temporary, "x+b")  # noqa: SIM115 - with the permissions that the umask leaves, as any new file
    except OSError as error:
        raise InputError(explain(name, "written", error)) from error
    with contextlib.suppress(OSError):
        os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
    return file


def _rename(name: str, temporary: str, target: str, *, overwrite: bool) -> None:
    """Give the file its name; without `overwrite` only if nothing has that name, even by now."""
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)  # unlike renaming, this fails if somebody else has created the target meanwhile
    except FileExistsError as error:
        raise InputError(_exists(name)) from error
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise InputError(_exists(name)) from None
        os.replace(temporary, target)
    else:
        os.unlink(temporary)


def _flush_folder(folder: str) -> None:
    """Make the new name durable where the system can; the content already is."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
