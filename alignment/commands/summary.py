"""What became of many plates: a table for people, CSV or JSON for programs."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .console import UsageError, plain

CHANNELS = ("red", "green", "blue")
COLUMNS = (
    "input", "output", "status", "success", "done_before", "message", "reference",
    *(f"{name}_{value}" for name in CHANNELS for value in ("dx", "dy", "stderr_dx", "stderr_dy")),
    "crop_top", "crop_bottom", "crop_left", "crop_right", "closure", "seconds",
)  # fmt: skip
_JSON_START = '{\n  "summary": "alignment colorize"'


def check_summary(path: str | None, inputs: Sequence[str], *, overwrite: bool) -> None:
    """Refuse, before the work, a summary that could not be written or would replace something else."""
    if path is None:
        return
    if Path(path).suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"{path} is to hold the summary but ends neither in .csv nor in .json; name it so")
    if os.path.realpath(path) in {os.path.realpath(name) for name in inputs}:
        raise UsageError(f"the summary would replace the input {path}; give it another name")
    from ..imagefiles import check_writable
    from .targets import check_target

    if _is_summary(path):  # that of an earlier run of the same work
        check_writable(path, overwrite=True)
    else:
        check_target(path, overwrite=overwrite)


def write_summary(path: str, entries: Sequence[dict[str, Any]], *, overwrite: bool) -> None:
    """Write the summary; one that was written before is replaced."""
    from ..imagefiles import replace_file

    text = _as_csv(entries) if Path(path).suffix.lower() == ".csv" else _as_json(entries)
    with replace_file(path, overwrite=overwrite or _is_summary(path)) as file:
        file.write(text.encode("utf-8", errors="backslashreplace"))


def table(entries: Sequence[dict[str, Any]]) -> str:
    """Return one line for each plate, with its displacements."""
    moved = [name for name in CHANNELS if any(name in entry["registrations"] for entry in entries)]
    rows = [["plate", "status", *(f"{name} dx, dy (px)" for name in moved), "closure", "seconds", "picture"]]
    for entry in entries:
        closure, seconds = closure_of(entry), entry.get("seconds")
        rows.append(
            [
                str(entry["input"]),
                entry["status"] + (", before" if entry.get("done_before") else ""),
                *(_displacement(entry["registrations"].get(name)) for name in moved),
                "" if closure is None else f"{closure:.2f}",
                "" if seconds is None else f"{seconds:.1f}",
                str(entry["output"] or ""),
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    numbers = range(2, len(rows[0]) - 1)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def totals(entries: Sequence[dict[str, Any]]) -> str:
    """Count what became of the plates."""
    failed, doubtful = count(entries)
    before = sum(bool(entry.get("done_before")) for entry in entries)
    again = f"; {before} of them had been done before" if before else ""
    undrawn = sum("trouble" in entry for entry in entries)
    again += f"; {undrawn} without the figure" if undrawn else ""
    done = len(entries) - failed - doubtful
    return f"{len(entries)} plates: {done} done, {doubtful} not converged, {failed} failed{again}"


def count(entries: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Return how many plates failed, and how many did not converge."""
    failed = sum(entry["status"] == "failed" for entry in entries)
    return failed, sum(not entry["success"] for entry in entries) - failed


def closure_of(entry: Mapping[str, Any]) -> float | None:
    """Return by how many pixels going round the three channels misses its start, where that is known."""
    value = entry.get("closure")
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(isinstance(v, int | float) for v in value):
        return None
    return math.hypot(*value)


def _displacement(found: Any) -> str:
    """Say a displacement in short."""
    return "" if not found else f"{found['dx']:+.2f}, {found['dy']:+.2f}"


def _as_csv(entries: Sequence[dict[str, Any]]) -> str:
    """Return one row for each plate."""
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    rows.writeheader()
    for entry in map(plain, entries):
        row = {key: entry.get(key) for key in COLUMNS if key in entry} | {"closure": closure_of(entry)}
        for name, found in entry["registrations"].items():
            row |= {f"{name}_dx": found.get("dx"), f"{name}_dy": found.get("dy")}
            errors = found.get("stderr") or (None, None)
            row |= {f"{name}_stderr_dx": errors[0], f"{name}_stderr_dy": errors[1]}
        if entry["crop"]:
            row |= dict(zip(("crop_top", "crop_bottom", "crop_left", "crop_right"), entry["crop"], strict=True))
        rows.writerow({key: "" if value is None else value for key, value in row.items()})
    return text.getvalue()


def _as_json(entries: Sequence[dict[str, Any]]) -> str:
    """Return everything that is known of each plate."""
    failed, doubtful = count(entries)
    counts = {"plates": len(entries), "not_converged": doubtful, "failed": failed}
    value = {"summary": "alignment colorize", "counts": counts, "plates": list(entries)}
    return json.dumps(plain(value), indent=2, allow_nan=False) + "\n"


def _is_summary(path: str) -> bool:
    """Return whether a file begins as a summary does."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            head = file.read(400)
    except OSError:
        return False
    return head.startswith((",".join(COLUMNS[:7]), _JSON_START))
