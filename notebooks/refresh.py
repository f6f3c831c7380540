"""Execute the notebooks, and hold what they print and draw against what is committed.

    python notebooks/refresh.py               execute all of them and write their outputs
    python notebooks/refresh.py 03 05         only these
    python notebooks/refresh.py --check 03    write nothing; say what would change, exit code 1 if anything would

The kernel is the running interpreter, with the `alignment` that this interpreter imports and without anybody's own
IPython settings. Code in the folded solutions runs too, after the last cell, and is not kept.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import base64
import copy
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from PIL import Image

import alignment

FOLDER = Path(__file__).resolve().parent
LARGEST = 400_000  # bytes of a file
RELATIVE = 1e-3  # between a committed number and a fresh one
ROUNDING = "rounding"  # tag of a cell whose numbers are made of last digits: only its words are compared

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
_ABSOLUTE_PATH = re.compile(r"(?<![\w.~:/\\})\]$])/\w[\w.-]*/\w|\b[A-Za-z]:\\\w")
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_SOLUTION = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def notebooks() -> list[Path]:
    """List the notebooks in the order of their numbers."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))


def read(path: Path) -> Any:
    """Read a notebook."""
    return nbformat.read(path, as_version=4)


def write(path: Path, notebook: Any) -> None:
    """Write a notebook so that either the complete file appears or the old one stays."""
    text = nbformat.writes(notebook, indent=1) + "\n"
    temporary = path.with_suffix(".writing")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# executing


class _ThisInterpreter(KernelSpecManager):  # type: ignore[misc]
    """Knows one kernel: the interpreter that runs this file, whatever kernels are installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return it under every name."""
        return KernelSpec(**get_kernel_dict())


def execute(notebook: Any, *, cell_timeout: float = 120.0) -> Any:
    """Return a copy of the notebook with fresh outputs; the first cell that fails raises."""
    fresh = copy.deepcopy(notebook)
    fresh.metadata = nbformat.from_dict(_METADATA)
    for cell in _code(fresh):
        cell.outputs, cell.execution_count = [], None
    kept = len(fresh.cells)
    fresh.cells += [nbformat.v4.new_code_cell(source) for source in solutions(fresh)]
    with tempfile.TemporaryDirectory() as scratch:
        manager = AsyncKernelManager(
            kernel_spec_manager=_ThisInterpreter(), connection_file=os.path.join(scratch, "kernel.json")
        )
        client = NotebookClient(
            fresh,
            km=manager,
            timeout=cell_timeout,
            resources={"metadata": {"path": str(FOLDER)}},
            extra_arguments=["--log-level=ERROR"],
        )
        asyncio.run(client.async_execute(env=_environment(scratch), cleanup_kc=True))
    fresh.cells = fresh.cells[:kept]
    fresh.metadata = nbformat.from_dict(_METADATA)  # the kernel has added its version
    for cell in _code(fresh):
        cell.metadata.pop("execution", None)  # times of day
        cell.outputs = _merged(cell.outputs)
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _small(output.data["image/png"])
    return fresh


def _small(png: str) -> str:
    """Encode a figure with a palette of its own, a third of the size and nothing that an eye would miss."""
    figure = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    file = io.BytesIO()
    figure.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def solutions(notebook: Any) -> list[str]:
    """Return the code of the folded solutions."""
    return [source for cell in notebook.cells for source in _folded_code(cell)]


def _folded_code(cell: Any) -> list[str]:
    """Return the code in the folded section of a cell."""
    return _SOLUTION.findall(cell.source.partition("<details>")[2]) if cell.cell_type == "markdown" else []


def _environment(scratch: str) -> dict[str, str]:
    """Return the variables that make a kernel see this package, draw inline, and know nobody's settings."""
    home = str(Path(alignment.__file__).resolve().parents[1])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "IPYTHONDIR": scratch,
        "PYTHONHASHSEED": "0",
    }


def _merged(outputs: Sequence[Any]) -> list[Any]:
    """Join what was printed in one go but arrived in pieces."""
    merged: list[Any] = []
    for output in outputs:
        if merged and output.output_type == "stream" == merged[-1].output_type and output.name == merged[-1].name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


# comparing


def differences(committed: Any, fresh: Any) -> list[str]:
    """Say, a sentence each, where outputs do not agree: words, numbers, figures."""
    found: list[str] = []
    if [cell.source for cell in committed.cells] != [cell.source for cell in fresh.cells]:
        return ["the two have different cells"]
    for old, new in zip(_code(committed), _code(fresh), strict=True):
        said = _compare_text(_text(old), _text(new), words_only=ROUNDING in new.metadata.get("tags", []))
        said += _compare_figures(_figures(old), _figures(new))
        found += [f"cell {new.id}: {sentence}" for sentence in said]
    return found


def _compare_text(old: str, new: str, *, words_only: bool) -> list[str]:
    """Compare line by line: the words are equal and so, nearly, are the numbers."""
    found = []
    for before, after in zip_longest(old.splitlines(), new.splitlines(), fillvalue=None):
        if before is None or after is None:
            found.append(f"{before!r} was printed, now {after!r}")
        elif _words(before) != _words(after):
            found.append(f"{before!r} reads {after!r} now")
        elif not words_only:
            pairs = zip(_NUMBER.findall(before), _NUMBER.findall(after), strict=True)
            found += [f"{was} is {now} now, in {before!r}" for was, now in pairs if not _near(was, now)]
    return found


def _words(line: str) -> list[str]:
    """Return a line without its numbers; columns may have moved."""
    return _NUMBER.sub(" # ", line).split()


def _near(old: str, new: str) -> bool:
    """Compare two printed numbers: whole ones exactly, others to a thousandth or a unit of the last digit printed."""
    if re.fullmatch(r"[-+]?\d+", old) and re.fullmatch(r"[-+]?\d+", new):
        return int(old) == int(new)
    unit = max(_last_digit(old), _last_digit(new))
    was, now = float(old), float(new)
    return abs(was - now) <= max(RELATIVE * max(abs(was), abs(now)), 1.001 * unit)


def _last_digit(number: str) -> float:
    """Return what one unit of the last printed digit is worth."""
    mantissa, _, exponent = number.lower().partition("e")
    return float(10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2])))


def _compare_figures(old: list[str], new: list[str]) -> list[str]:
    """Compare the number of figures and their sizes, and refuse empty ones."""
    if len(old) != len(new):
        return [f"{len(old)} figures were drawn, now {len(new)}"]
    found = []
    for number, (before, after) in enumerate(zip(old, new, strict=True)):
        was, now = _pixels(before), _pixels(after)
        if np.max(np.abs(np.subtract(was.shape[:2], now.shape[:2]))) > 0.05 * max(was.shape[:2]):
            found.append(f"figure {number} had the shape {was.shape[:2]}, now {now.shape[:2]}")
        found += [f"figure {number} is empty" for pixels in (was, now) if pixels.std() < 1]
    return found


def _pixels(png: str) -> np.ndarray[Any, Any]:
    """Decode a figure."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("L"))


def _code(notebook: Any) -> list[Any]:
    """Return the code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _text(cell: Any) -> str:
    """Return what a cell printed; of a figure the words that matplotlib has for it do not count."""
    printed = [o.text if o.output_type == "stream" else o.get("data", {}).get("text/plain", "") for o in cell.outputs
               if "image/png" not in o.get("data", {})]  # fmt: skip
    return "\n".join(text.rstrip("\n") for text in printed)


def _figures(cell: Any) -> list[str]:
    """Return the PNGs that a cell drew."""
    return [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]


# what every notebook must be like, executed or not


def faults(path: Path) -> list[str]:
    """Say, a sentence each, what a committed notebook may not be or contain."""
    found = [f"{path.name} has {path.stat().st_size} bytes, {LARGEST} at most"] * (path.stat().st_size > LARGEST)
    ids = [cell.get("id") for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    if None in ids or len(set(ids)) != len(ids):
        return [*found, "cells lack ids of their own"]  # reading it would repair that
    notebook = read(path)
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        found.append(f"it is no valid notebook: {error}")
    if notebook.metadata != _METADATA:
        found.append(f"its metadata are {dict(notebook.metadata)}, not those that refresh.py writes")
    counts = [cell.execution_count for cell in _code(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        found.append("its cells were not executed once each, from first to last")
    for cell in notebook.cells:
        found += [f"cell {cell.id}: {said}" for said in (*_faults_of_source(cell), *_faults_of_outputs(cell))]
    return found + list(_faults_of_pattern(path, notebook))


def _faults_of_source(cell: Any) -> Iterator[str]:
    """Find absolute paths and random numbers without a seed."""
    if _ABSOLUTE_PATH.search(cell.source):
        yield "an absolute path"
    codes = [cell.source] if cell.cell_type == "code" else _folded_code(cell)
    for code in codes:
        try:
            tree = ast.parse(code)
        except SyntaxError as error:
            yield f"no plain Python: {error}"
            continue
        for node in ast.walk(tree):
            yield from _unseeded(node)


def _unseeded(node: ast.AST) -> Iterator[str]:
    """Find random numbers that differ from run to run, and clocks."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
        yield from (f"imports {name}" for name in names & {"random", "secrets", "time", "datetime"})
    global_state = isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random")
    if global_state and node.attr not in ("default_rng", "Generator"):
        yield f"np.random.{node.attr} has no seed of its own; use np.random.default_rng(seed)"
    if (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("default_rng")
        and not (node.args + node.keywords)
    ):
        yield "default_rng without a seed"


def _faults_of_outputs(cell: Any) -> Iterator[str]:
    """Find errors, warnings, absolute paths and bulky formats."""
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            yield f"it ended in {output.ename}"
        if output.output_type == "stream" and output.name != "stdout":
            yield f"it wrote to {output.name}: {output.text!r}"
        formats = set(output.get("data", {}))
        if formats - {"text/plain", "image/png"}:
            yield f"output in {', '.join(sorted(formats - {'text/plain', 'image/png'}))}"
    if _ABSOLUTE_PATH.search(_text(cell) if cell.cell_type == "code" else ""):
        yield "it printed an absolute path"


def _faults_of_pattern(path: Path, notebook: Any) -> Iterator[str]:
    """Find what is missing of the pattern: number and question first, three exercises with solutions last."""
    number, opening, closing = path.name[:2], notebook.cells[0], notebook.cells[-1]
    if opening.cell_type != "markdown" or not opening.source.startswith(f"# {number} "):
        yield f"it does not open with the heading '# {number} ...'"
    if "?" not in opening.source:
        yield "it does not open with the question that it answers"
    exercises = [cell.source for cell in notebook.cells if cell.source.startswith("## Exercises")]
    if len(exercises) != 1 or re.findall(r"^(\d)\. ", exercises[0], re.MULTILINE) != ["1", "2", "3"]:
        yield "it has no section '## Exercises' with three of them, numbered"
    folded = closing.source.partition("<details>")[2]
    if re.findall(r"^\*\*(\d)\.\*\*", folded, re.MULTILINE) != ["1", "2", "3"]:
        yield "it does not end with three solutions in a <details> section"


# the command


def main(arguments: Sequence[str] | None = None) -> int:
    """Refresh or check the notebooks that are asked for; return the exit code."""
    parser = argparse.ArgumentParser(description="Execute the notebooks and write, or check, their outputs.")
    parser.add_argument("numbers", nargs="*", metavar="NUMBER", help="such as 03; all of them if none is given")
    parser.add_argument("--check", action="store_true", help="write nothing, say what would change")
    args = parser.parse_args(arguments)
    chosen = [path for path in notebooks() if not args.numbers or path.name[:2] in args.numbers]
    unknown = set(args.numbers) - {path.name[:2] for path in chosen}
    if unknown:
        parser.error(f"there is no notebook {', '.join(sorted(unknown))}; give numbers such as 01")
    wrong = 0
    for path in chosen:
        committed = read(path)
        try:
            fresh = execute(committed)
        except (CellExecutionError, CellTimeoutError) as error:
            wrong += 1
            print(f"{path.name}: left as it is, for a cell failed", _COLOURS.sub("", str(error)), sep="\n")
            continue
        said = [*faults(path), *differences(committed, fresh)] if args.check else []
        if not args.check:
            write(path, fresh)
            said = faults(path)
        wrong += bool(said)
        print(f"{path.name}: {'as it should be' if not said else ''}", *said, sep="\n    " if said else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
