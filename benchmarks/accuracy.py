"""Accuracy, robustness and time of `register` beside other tools, as one Markdown table.

    python benchmarks/accuracy.py [--pairs 60] [--rows NAME ...] [--tools NAME ...] [--json FILE]

Every tool gets the same pairs, one after the other, pair by pair, so that whatever else the machine does befalls all.
A cell says: share of pairs found (within 0.5 px), median error over the pairs that were found, median time over
template matching's. The last column names what we lose, and to whom.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from pairs import Pair, Setting, pairs
from peers import OURS, Answer, Peer, installed, use_threads
from tqdm import tqdm

ROWS = {
    "clean": Setting(),
    "noise-0.02": Setting(noise=0.02),
    "noise-0.05": Setting(noise=0.05),
    "noise-0.10": Setting(noise=0.10),
    "gain": Setting(gain=0.5, offset=0.15),
    "reach-2": Setting(reach=2),
    "reach-5": Setting(reach=5),
    "quarter-512": Setting(shape=(512, 512), reach=0.25),
    "quarter-512-noise": Setting(shape=(512, 512), reach=0.25, noise=0.05, gain=0.5, offset=0.15),
    "size-128": Setting(shape=(128, 128), reach=10),
    "size-200": Setting(shape=(200, 200), reach=12),
    "frame": Setting(frame=True),
    "frame-noise": Setting(frame=True, noise=0.05, reach=5),
    "channels": Setting(channels=True),
    "channels-frame": Setting(channels=True, frame=True, noise=0.01),
    "gain-noise": Setting(gain=0.5, offset=0.15, noise=0.05),
}
# takes long and much memory: only when named
EXTRA_ROWS = {"quarter-1024": Setting(shape=(1024, 1024), reach=0.25)}
WORDS = {
    "clean": "333 x 375, up to 15 px, clean",
    "noise-0.02": "noise 0.02 in both",
    "noise-0.05": "noise 0.05",
    "noise-0.10": "noise 0.10",
    "gain": "gain 0.5, offset 0.15",
    "reach-2": "up to 2 px",
    "reach-5": "up to 5 px",
    "quarter-512": "512 x 512, up to 25 % of the frame",
    "quarter-512-noise": "the same, gain 0.5 and noise 0.05",
    "size-128": "128 x 128, up to 10 px",
    "size-200": "200 x 200, up to 12 px",
    "frame": "fixed scan frame, 9-12 px",
    "frame-noise": "fixed scan frame, noise 0.05, up to 5 px",
    "channels": "red against blue",
    "channels-frame": "red against blue, fixed scan frame",
    "gain-noise": "gain 0.5 and noise 0.05",
    "quarter-1024": "1024 x 1024, up to 25 % of the frame",
}
FOUND = 0.5  # px
BASE = "matchTemplate"


def measure(tools: list[Peer], setting: Setting, count: int, seed: int, bar: Any) -> list[dict[str, Any]]:
    """Ask every tool about every pair of a row; return one record per question."""
    records = []
    for number, pair in enumerate(pairs(setting, count, seed=seed)):
        if number == 0:  # what is compiled or loaded at the first call is not timed
            for tool in tools:
                tool(pair.reference, pair.moving, setting.bounds)
        first = number % len(tools)
        for tool in tools[first:] + tools[:first]:
            gc.collect(0)
            begin = time.perf_counter()
            answer = tool(pair.reference, pair.moving, setting.bounds)
            elapsed = time.perf_counter() - begin
            records.append(_record(tool, pair, answer, elapsed))
        bar.update()
    return records


def _record(tool: Peer, pair: Pair, answer: Answer, elapsed: float) -> dict[str, Any]:
    error = float(np.hypot(answer.dx - pair.dx, answer.dy - pair.dy))
    return {
        "tool": tool.name,
        "error": error if np.isfinite(error) else None,
        "time": elapsed,
        "trusted": answer.trusted,
        "remark": answer.remark,
        "truth": [pair.dx, pair.dy],
        "found": [_plain(answer.dx), _plain(answer.dy)],
        **pair.info,
    }


def summarise(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return per tool: the share found, median error of those found, median time, and for ours what was said."""
    tools = list(dict.fromkeys(record["tool"] for record in records))
    base = np.median([r["time"] for r in records if r["tool"] == BASE]) if BASE in tools else np.nan
    summary = {}
    for tool in sorted(tools, key=[peer.name for peer in installed()[0]].index):
        mine = [r for r in records if r["tool"] == tool]
        found = [r for r in mine if r["error"] is not None and r["error"] < FOUND]
        wrong = [r for r in mine if r not in found]
        errors = [r["error"] for r in found]
        summary[tool] = {
            "pairs": len(mine),
            "success": len(found) / len(mine),
            "error": float(np.median(errors)) if errors else None,
            "time": float(np.median([r["time"] for r in mine])),
            "ratio": _plain(float(np.median([r["time"] for r in mine]) / base)),
            "found but refused": sum(r["trusted"] is False for r in found),
            "wrong but trusted": sum(r["trusted"] is not False for r in wrong),
        }
    return summary


def losses(summary: dict[str, dict[str, Any]]) -> str:
    """Say where our first column is behind, and by whom it is beaten."""
    if OURS[0] not in summary:
        return ""
    ours = summary[OURS[0]]
    others = {tool: s for tool, s in summary.items() if tool not in OURS}
    said = []
    better = {tool: s["success"] for tool, s in others.items() if s["success"] > ours["success"]}
    if better:
        tool = max(better, key=better.__getitem__)
        said.append(f"**found**: {tool} {better[tool]:.0%}")
    # being precise on the easy pairs alone does not count
    closer = {
        tool: s["error"]
        for tool, s in others.items()
        if s["error"] is not None and s["success"] >= 0.9 * ours["success"] and s["error"] < (ours["error"] or np.inf)
    }
    if closer:
        tool = min(closer, key=closer.__getitem__)
        said.append(f"**error**: {tool} {closer[tool]:.4f} px")
    faster = {tool: s["ratio"] for tool, s in others.items() if s["time"] < ours["time"] and s["ratio"] is not None}
    if faster:
        tool = min(faster, key=faster.__getitem__)
        said.append(f"**time**: {tool} {faster[tool]:.2g}x")
    if ours["found but refused"]:
        said.append(f"**refused though right**: {ours['found but refused']} of {ours['pairs']}")
    if ours["wrong but trusted"]:
        said.append(f"**trusted though wrong**: {ours['wrong but trusted']} of {ours['pairs']}")
    return "; ".join(said) or "nothing"


def heading(tools: list[Peer]) -> str:
    """Return the first two lines of the table."""
    names = [*(tool.name for tool in tools), "any other tool", f"{BASE}'s time", "we lose"]
    return "| pairs | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|"


def line(row: str, records: list[dict[str, Any]], summary: dict[str, dict[str, Any]]) -> str:
    """Return one line of the table."""
    cells = [WORDS[row]]
    for s in summary.values():
        error = "-" if s["error"] is None else f"{s['error']:.4f} px"
        ratio = "" if s["ratio"] is None else f", {s['ratio']:.2g}x"
        refused = f" ({s['found but refused']} refused)" if s["found but refused"] else ""
        cells.append(f"{s['success']:.0%}{refused}, {error}{ratio}")
    pairs_found = {
        r["index"] for r in records if r["tool"] not in OURS and r["error"] is not None and r["error"] < FOUND
    }
    cells.append(f"{len(pairs_found) / len({r['index'] for r in records}):.0%}")
    cells.append(f"{1e3 * summary[BASE]['time']:.1f} ms" if BASE in summary else "-")
    cells.append(losses(summary))
    return "| " + " | ".join(cells) + " |"


def surprises(rows: dict[str, list[dict[str, Any]]]) -> str:
    """List the pairs on which we were wrong, or refused what was right: each with what remakes it."""
    lines = []
    for row, records in rows.items():
        for r in records:
            right = r["error"] is not None and r["error"] < FOUND
            if r["tool"] in OURS and (not right or r["trusted"] is False):
                lines.append(
                    f"- {r['tool']}, `pair(ROWS[{row!r}], {r['index']}, seed={r['seed']})` ({r['photograph']}): "
                    f"{r['remark']}, error {_said(r['error'])}, truth ({r['truth'][0]:.2f}, {r['truth'][1]:.2f})"
                )
    return "\n".join(lines)


def _said(error: float | None) -> str:
    return "not finite" if error is None else f"{error:.3f} px"


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and store."""
    known = {**ROWS, **EXTRA_ROWS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=60, help="pairs in each row (default: 60)")
    parser.add_argument(
        "--rows", nargs="+", choices=list(known), default=list(ROWS), metavar="NAME", help=", ".join(known)
    )
    parser.add_argument("--tools", nargs="+", metavar="NAME", help="parts of names; default: all that are installed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="for each tool that can be told (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="store every answer")
    arguments = parser.parse_args(argv)
    tools, missing = installed(arguments.tools)
    use_threads(arguments.threads)
    print(
        f"{arguments.pairs} pairs in each row. A cell: found within {FOUND} px, median error of those found, median "
        f"time over {BASE}'s. {arguments.threads} thread(s), NumPy {np.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}.\n"
    )
    print(heading(tools), flush=True)
    records, results = {}, {}
    with tqdm(total=arguments.pairs * len(arguments.rows), unit="pair", disable=None) as bar:
        for row in arguments.rows:
            bar.set_description(row)
            records[row] = measure(tools, known[row], arguments.pairs, arguments.seed, bar)
            results[row] = summarise(records[row])
            print(line(row, records[row], results[row]), flush=True)
    for sentence in missing:
        print(f"\n{sentence}.")
    if told := surprises(records):
        print(f"\nWhere we were wrong, or refused what was right:\n\n{told}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            rows = {row: asdict(known[row]) for row in records}
            json.dump({"settings": rows, "summary": results, "answers": records}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
