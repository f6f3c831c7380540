"""What a command is to read: files, folders and patterns, in the order in which people count."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ..naming import natural_key

_PATTERN = re.compile(r"[*?\[]")


def expand(names: Sequence[str], suffixes: Sequence[str], is_result: Callable[[str], bool]) -> tuple[list[str], int]:
    """Return the files that names, folders and patterns mean.

    Parameters
    ----------
    names : sequence of str
        A file stands for itself, a folder for the images in it (not in its subfolders), a pattern with ``*``, ``?`` or
        ``[...]`` for the images that match (``**`` goes into subfolders).
    suffixes : sequence of str
        The suffixes of images, in lower case.
    is_result : callable
        Tells whether a file is the result of an earlier run.

    Returns
    -------
    files : list of str
        Given ones in the order given; those of a folder or a pattern in natural order, without hidden files and without
        doubles. What stands for nothing stays in the list, so that whoever reads it says what is wrong.
    left_out : int
        How many results of earlier runs were left out. One that is given alone, by its name, stays.
    """
    files: list[str] = []
    seen: set[str] = set()
    left_out = 0
    for name in names:
        found = _meant(name, suffixes)
        if found is None and len(names) == 1:
            return [name], 0
        for file in [name] if found is None else found:
            place = os.path.realpath(file)
            if is_result(file):
                left_out += 1
            elif found is None or place not in seen:  # doubles that were given by name are for the caller to refuse
                files.append(file)
            seen.add(place)
    return files, left_out


def _meant(name: str, suffixes: Sequence[str]) -> list[str] | None:
    """Return the images that a folder or a pattern stands for; None for a name that stands for itself."""
    if os.path.isdir(name):
        found = [str(Path(name, entry)) for entry in os.listdir(name)]
    elif _PATTERN.search(name) and not os.path.lexists(name):
        found = glob.glob(name, recursive=True)
    else:
        return None
    images = [
        file
        for file in found
        if os.path.splitext(file)[1].lower() in suffixes
        and not os.path.basename(file).startswith(".")
        and not os.path.isdir(file)
    ]
    return sorted(images, key=natural_key) or None
