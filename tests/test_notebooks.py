"""The notebooks run, print and draw what is committed, and keep to their pattern; and the checker of this can fail."""

from __future__ import annotations

import base64
import copy
import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat, of the extra `test`, is not installed")
pytest.importorskip("nbclient", reason="nbclient, of the extra `test`, is not installed")
pytest.importorskip("ipykernel", reason="ipykernel, of the extra `test`, is not installed")

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))


def _module() -> ModuleType:
    """Import notebooks/refresh.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("refresh", FOLDER / "refresh.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["refresh"] = module
    spec.loader.exec_module(module)
    return module


refresh = _module()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_pattern(path):
    assert refresh.faults(path) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_fresh(path):
    committed = refresh.read(path)
    assert refresh.differences(committed, refresh.execute(committed)) == []


def test_map_lists_what_there_is():
    listed = re.findall(r"\]\((\d\d_\w+\.ipynb)\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert listed == [path.name for path in NOTEBOOKS]
    assert NOTEBOOKS


def test_the_readme_maps_them_all():
    text = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\(notebooks/(\d\d_\w+\.ipynb)\)", text) == [path.name for path in NOTEBOOKS]


@pytest.mark.slow
def test_the_tour_of_the_readme_runs(tmp_path):
    """Everything in Python before the published experiments, in order, as a reader would type it."""
    text = (FOLDER.parent / "README.md").read_text(encoding="utf-8").partition("## The published experiments")[0]
    tour = "".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert "check_gradient" in tour
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    command = [sys.executable, "-W", "error", "-c", tour]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert "passed:" in done.stdout
    assert done.stdout.count("converged") == 2
    assert (tmp_path / "landscape.png").is_file()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    texts = [cell.source for cell in refresh.read(path).cells if cell.cell_type == "markdown"]
    for link in re.findall(r"\]\(([^)#\s]+)\)", "\n".join(texts)):
        assert link.startswith("https://") or (FOLDER / link).is_file(), link


# the checker itself


def _figure(level: int = 0, shape: tuple[int, int] = (40, 60)) -> Any:
    """Return an output with a small picture; level 255 makes it empty."""
    from PIL import Image

    pixels = np.full(shape, 255, np.uint8)
    pixels[: shape[0] // 2] = level
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(file.getvalue()).decode()})


def _printed(text: str) -> Any:
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def _notebook(*outputs: Any, source: str = "print()", tags: tuple[str, ...] = ()) -> Any:
    """Return a notebook that keeps to the pattern, with one cell of code and these outputs."""
    code = nbformat.v4.new_code_cell(source, id="code", execution_count=1, outputs=list(outputs))
    if tags:
        code.metadata["tags"] = list(tags)
    closing = "<details>\n<summary>Solutions</summary>\n\n**1.** a\n\n**2.** b\n\n**3.** c\n\n</details>"
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# 42 A name\n\n**What is the question?**", id="question"),
            code,
            nbformat.v4.new_markdown_cell("## Exercises\n\n1. a\n2. b\n3. c", id="exercises"),
            nbformat.v4.new_markdown_cell(closing, id="solutions"),
        ],
        metadata=refresh._METADATA,
    )
    notebook.nbformat_minor = 5
    return notebook


@pytest.fixture
def faults(tmp_path):
    """Return a function that writes a notebook under number 42 and says its faults."""

    def write_and_look(notebook):
        path = tmp_path / "42_a_name.ipynb"
        refresh.write(path, notebook)
        return refresh.faults(path)

    return write_and_look


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("loss 0.1234", "loss 0.1236"),
        ("loss 1.234e-05", "loss 1.238e-05"),
        ("36 passes", "37 passes"),
        ("shift +3.40 px", "shift -3.40 px"),
        ("converged", "diverged"),
        ("passed: 3", "passed: 3\nnote: 4"),
        ("first\nsecond", "second\nfirst"),
        ("dx = 1.0", "dx = nan"),
    ],
)
def test_a_change_of_print_is_noticed(old, new):
    assert refresh.differences(_notebook(_printed(old)), _notebook(_printed(new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [("L 0.1234", "L 0.1235"), ("  a   1234.5", "a 1234.9"), ("4 of 5\n", "4 of 5"), ("1.0e-12", "1.1e-12")],
)
def test_a_last_digit_may_differ(old, new):
    assert refresh.differences(_notebook(_printed(old)), _notebook(_printed(new))) == []


def test_only_words_count_where_rounding_is_printed():
    old, new, other = (_notebook(_printed(f"error {x}"), tags=("rounding",)) for x in ("3e-13", "2e-14", "large"))
    assert refresh.differences(old, new) == []
    assert refresh.differences(old, other)


def test_pieces_of_a_stream_are_one_text():
    merged = refresh._merged([_printed("a\n"), _printed("b\n"), _figure(), _printed("c\n")])
    assert [output.get("text") for output in merged] == ["a\nb\n", None, "c\n"]


@pytest.mark.parametrize(
    "fresh",
    [[], [_figure(), _figure()], [_figure(shape=(40, 90))], [_figure(255)]],
    ids=["none", "two", "wide", "empty"],
)
def test_a_change_of_figure_is_noticed(fresh):
    assert refresh.differences(_notebook(_figure()), _notebook(_figure(30))) == []
    assert refresh.differences(_notebook(_figure()), _notebook(*fresh))


def test_other_cells_are_noticed():
    assert refresh.differences(_notebook(), _notebook(source="print(1)"))


def test_a_sound_notebook_has_no_faults(faults):
    assert faults(_notebook(_printed("a"), source="rng = np.random.default_rng(0)\nx = 1 / 3  # a/b")) == []


@pytest.mark.parametrize(
    "source",
    [
        "rng = np.random.default_rng()",
        "x = np.random.rand(3)",
        "import random",
        "from time import perf_counter",
        "open('/home/somebody/image.png')",
        "path = r'C:\\images'",
        "%timeit 1",
    ],
)
def test_faults_of_source(faults, source):
    assert faults(_notebook(source=source))


@pytest.mark.parametrize(
    "output",
    [
        nbformat.v4.new_output("stream", name="stderr", text="a warning"),
        nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[]),
        nbformat.v4.new_output("display_data", {"image/svg+xml": "<svg/>"}),
        _printed("written to /srv/data/x.png"),
        _printed("x" * 400_000),
    ],
    ids=["stderr", "error", "svg", "path", "size"],
)
def test_faults_of_outputs(faults, output):
    assert faults(_notebook(output))


def _without(notebook: Any, index: int, old: str, new: str = "") -> Any:
    """Return the notebook with a change in the text of a cell."""
    changed = copy.deepcopy(notebook)
    assert old in changed.cells[index].source
    changed.cells[index].source = changed.cells[index].source.replace(old, new)
    return changed


@pytest.mark.parametrize(
    ("index", "old"), [(0, "42"), (0, "?"), (2, "3. c"), (2, "## Exercises"), (3, "**2.**"), (3, "<details>")]
)
def test_faults_of_pattern(faults, index, old):
    assert faults(_notebook()) == []
    assert faults(_without(_notebook(), index, old))


def test_faults_of_bookkeeping(faults, tmp_path):
    skipped, foreign = copy.deepcopy(_notebook()), copy.deepcopy(_notebook())
    skipped.cells[1].execution_count = 7
    foreign.metadata["kernelspec"]["name"] = "mine"
    for notebook in (skipped, foreign):
        assert faults(notebook)
    path = tmp_path / "42_a_name.ipynb"
    text = nbformat.writes(_notebook())
    for changed in (text.replace('"id": "solutions"', '"id": "code"'), text.replace('"id": "solutions",', "")):
        assert changed != text
        path.write_text(changed, encoding="utf-8")
        assert refresh.faults(path) == ["cells lack ids of their own"]


@pytest.mark.slow
def test_executing_runs_this_interpreter_and_the_solutions_and_keeps_the_cells():
    notebook = _notebook(source="import sys\nimport alignment\nprint(sys.executable, alignment.__file__)")
    notebook.cells[-1].source += "\n\n```python\nassert sys\n```\n"
    fresh = refresh.execute(notebook)
    import alignment

    assert fresh.cells[1].outputs[0].text.split() == [sys.executable, alignment.__file__]
    assert [cell.id for cell in fresh.cells] == [cell.id for cell in notebook.cells]
    assert fresh.metadata == refresh._METADATA
    notebook.cells[-1].source += "\n\n```python\nassert not sys\n```\n"
    with pytest.raises(Exception, match="assert not sys"):
        refresh.execute(notebook)


def test_a_refused_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "42_a_name.ipynb"
    path.write_text("old", encoding="utf-8")
    broken = _notebook()
    broken.cells.append(object())
    with pytest.raises(Exception):  # noqa: B017, PT011  (whatever the writer makes of it)
        refresh.write(path, broken)
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_unknown_numbers_are_refused(capsys):
    with pytest.raises(SystemExit) as error:
        refresh.main(["99"])
    assert error.value.code == 2
    assert "no notebook 99" in capsys.readouterr().err


@pytest.mark.slow
def test_a_cell_that_fails_is_reported_and_the_file_left(tmp_path, monkeypatch, capsys):
    path = tmp_path / "42_a_name.ipynb"
    refresh.write(path, _notebook(source="assert 1 > 2, 'two is more'"))
    before = path.read_bytes()
    monkeypatch.setattr(refresh, "notebooks", lambda: [path])
    assert refresh.main(["42"]) == 1
    assert path.read_bytes() == before
    said = capsys.readouterr().out
    assert said.startswith("42_a_name.ipynb: left as it is")
    assert "AssertionError: two is more" in said


@pytest.mark.slow
def test_refreshing_makes_a_stale_notebook_sound(tmp_path, monkeypatch, capsys):
    path = tmp_path / "42_a_name.ipynb"
    refresh.write(path, _notebook(_printed("stale"), source="print('fresh')"))
    monkeypatch.setattr(refresh, "notebooks", lambda: [path])
    assert refresh.main(["--check"]) == 1
    assert "'stale' reads 'fresh' now" in capsys.readouterr().out
    assert refresh.main([]) == 0
    assert refresh.main(["--check"]) == 0
