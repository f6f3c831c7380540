"""Names of files, sorted as people sort them."""

from __future__ import annotations

import os
import re


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a key to sort names by as people do: runs of digits by their number.

    Examples
    --------
    >>> sorted(["p10.tif", "p9.tif", "P1.tif", "p.tif"], key=natural_key)
    ['p.tif', 'P1.tif', 'p9.tif', 'p10.tif']
    """
    parts = re.split(r"([0-9]+)", os.path.splitext(name)[0])
    counted = [(0, int(p), p) if p.isascii() and p.isdigit() else (1, 0, p.casefold()) for p in parts]
    return [*counted, (-1, 0, name)]  # what is shorter comes first, and equals have an order all the same
