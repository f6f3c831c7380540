"""The study in words and tables: for the screen, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..claims import Claim
    from ..study import Study

METHOD_NAMES = {"text": "text: plain descent", "program": "program: Adam", "ours": "ours"}


def markdown(study: Study, claims: Sequence[Claim], explained: Sequence[str]) -> str:
    """Write the whole study as Markdown."""
    names = ", ".join(dict.fromkeys(answer.plate for answer in study.answers))
    parts = [
        "# The published experiments, run again",
        f"Red and blue onto green, on {names}. Distances are from the truth where it is known, else from what our "
        "engine converges to; all are in pixels.",
        "## Median distance from the answer, and median time",
        as_markdown(*settings(study)),
        "## The recommended setting, 30 steps of Adam at 0.001 with NCC, and our engine beside it",
        as_markdown(*channels(study)),
        _trust(study),
        "## The claims",
        as_markdown(*judged(claims)),
        "## What explains them",
        *[" ".join(line.split()) if not line.startswith("  ") else f"- {line.strip()}" for line in explained],
        "## Every run",
        as_markdown(*everything(study)),
    ]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def lines(study: Study, claims: Sequence[Claim], explained: Sequence[str]) -> str:
    """Write what matters of the study for the screen."""
    parts = [
        "median distance from the answer and median time",
        as_text(*settings(study)),
        "the recommended setting, 30 steps of Adam at 0.001 with NCC, and ours beside it",
        as_text(*channels(study)),
        _trust(study),
        "the claims",
        "\n".join(
            f"{'holds' if c.holds else 'FAILS':5}  {c.statement}  [{METHOD_NAMES[c.method]}]\n"
            + wrapped("       " + c.evidence)
            for c in claims
        ),
        "\n".join(wrapped(line) for line in explained),
    ]
    return "\n\n".join(parts)


def settings(study: Study) -> tuple[list[str], list[list[str]]]:
    """Return the table of medians: a row for each method, loss and number of steps."""
    from ..experiment import RATES, STEPS
    from ..study import median

    head = ["method", "loss", "steps", *(f"{rate:g}" for rate in RATES), *(f"{rate:g}, time" for rate in RATES)]
    body = []
    for method in ("text", "program"):
        for loss in ("ncc", "mse"):
            away, times = (study.table(method, loss, what) for what in ("distance", "seconds"))
            for i, steps in enumerate(STEPS):
                cells = [f"{value:.2f} px" for value in away[i]] + [f"{1e3 * value:.1f} ms" for value in times[i]]
                body.append([METHOD_NAMES[method], loss.upper(), str(steps), *cells])
    for loss in ("ncc", "mse"):
        rows = study.select(method="ours", loss=loss)
        needed, distance, seconds = (median(rows, what) for what in ("steps", "distance", "seconds"))
        is_answer = all(row.distance == 0 for row in rows)
        told = ["is the answer" if is_answer else f"{distance:.2f} px", "", "", f"{1e3 * seconds:.1f} ms", "", ""]
        body.append(["ours", loss.upper(), f"{needed:.0f}", *told])
    return head, body


def channels(study: Study) -> tuple[list[str], list[list[str]]]:
    """Return the table of the recommended setting: a row for each channel."""
    from ..study import COUNT, LOSS, METHOD, RATE

    head = ["plate", "channel", "answer dx, dy (px)", "from", "Adam ends at", "off by", "verdict", "time"]
    head += ["ours off by", "time"]
    setting = {"method": METHOD, "loss": LOSS, "learning_rate": RATE, "steps": COUNT}
    body = []
    for answer, ending in zip(study.answers, study.endings, strict=True):
        where = {"plate": answer.plate, "channel": answer.channel}
        theirs, mine = (study.select(**where, **s)[0] for s in (setting, {"method": "ours", "loss": LOSS}))
        known = [f"{answer.dx:+.2f}", f"{answer.dy:+.2f}"]
        if answer.source != "truth":
            known = [f"{value} ± {error:.2f}" for value, error in zip(known, answer.stderr, strict=True)]
        own = "is the answer" if mine.distance == 0 else f"{mine.distance:.2f} px"
        body.append([
            answer.plate, answer.channel, ", ".join(known), answer.source, f"{ending.dx:+.2f}, {ending.dy:+.2f}",
            f"{ending.distance:.1f} px", ending.reason, f"{1e3 * theirs.seconds:.0f} ms", own,
            f"{1e3 * mine.seconds:.0f} ms",
        ])  # fmt: skip
    return head, body


def judged(claims: Sequence[Claim]) -> tuple[list[str], list[list[str]]]:
    """Return the table of claims."""
    head = ["claim", "by", "holds", "evidence"]
    return head, [[c.statement, METHOD_NAMES[c.method], "yes" if c.holds else "no", c.evidence] for c in claims]


def everything(study: Study) -> tuple[list[str], list[list[str]]]:
    """Return every run, rounded for reading."""
    head = [
        "plate",
        "channel",
        "method",
        "loss",
        "learning rate",
        "steps",
        "dx",
        "dy",
        "value",
        "distance",
        "ms",
        "status",
    ]
    body = []
    for row in study.rows:
        rate = "" if row.learning_rate is None else f"{row.learning_rate:g}"
        numbers = [f"{row.dx:+.3f}", f"{row.dy:+.3f}", f"{row.value:.5g}", f"{row.distance:.3f}"]
        body.append([
            row.plate, row.channel, METHOD_NAMES[row.method], row.loss.upper(), rate, str(row.steps), *numbers,
            f"{1e3 * row.seconds:.1f}", row.status,
        ])  # fmt: skip
    return head, body


def as_csv(study: Study) -> str:
    """Write every run as comma-separated values, unrounded."""
    from ..study import Row

    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in study.rows)
    return text.getvalue()


def as_json(study: Study, claims: Sequence[Claim], explained: Sequence[str]) -> dict[str, Any]:
    """Return everything ready for JSON."""
    return {**study.to_dict(), "claims": [asdict(claim) for claim in claims], "explanation": list(explained)}


def as_markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Set a table as Markdown."""
    rows = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows)


def as_text(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Set a table in columns."""
    widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *body)]
    return "\n".join(row.rstrip() for row in rows)


def wrapped(line: str) -> str:
    """Break a long line, keeping its indentation."""
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(line.strip(), 118, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _trust(study: Study) -> str:
    """Say how far the answers can be trusted."""
    if not study.closures:
        return "Each plate has one channel, so no circle of registrations tells how far to trust the answers."
    told = ", ".join(f"{plate} {gap:.2f}" for plate, gap in study.closures.items())
    return f"Red onto green, green onto blue and blue onto red fail to close a circle by (px): {told}."
