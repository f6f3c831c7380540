"""The house: imports go down, Numba lives in one file, the formulas stand alone, heavy libraries come late."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import alignment

PACKAGE = Path(alignment.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LATE = ("matplotlib", "imageio", "tifffile", "PIL", "tqdm", "scipy", "torch", "dask", "distributed")


def imports(path):
    """Return the absolute names of everything a file imports, at whatever depth."""
    package = ["alignment", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def of(top, names):
    return sorted(name for name in names if name == top or name.startswith(top + "."))


def test_the_contracts_hold():
    root = PACKAGE.parent
    if not (root / "setup.cfg").is_file():
        pytest.skip("the contracts stand in setup.cfg, which an installed package does not carry")
    run = subprocess.run(
        [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"],
        cwd=root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert " 0 broken" in run.stdout
    assert "0 kept" not in run.stdout


def test_only_the_kernels_know_numba():
    assert [path.name for path in FILES if of("numba", imports(path))] == ["_kernels.py"]


def test_the_formulas_stand_alone():
    names = set(imports(PACKAGE / "formulas.py"))
    assert of("alignment", names) == []
    assert of("numpy", names) == []


@pytest.mark.parametrize("name", ["_kernels.py", "formulas.py"])
def test_the_kernels_and_the_formulas_share_nothing(name):
    assert of("alignment", set(imports(PACKAGE / name))) == []


def test_descent_and_gradcheck_know_no_images():
    about_images = (
        *("_kernels", "bands", "bilinear", "cells", "imagefiles", "losses", "margins", "objective", "propagation"),
        *("pyramid", "registration", "samplers", "search", "sums"),
    )
    of_the_check = ("findings", "remarks", "errorcurves", "judge", "linecheck", "extrapolation", "kinks", "differences")
    for name in ("descent.py", "gradcheck.py", *(f"{noun}.py" for noun in of_the_check)):
        names = list(imports(PACKAGE / name))
        assert [name for top in about_images for name in of(f"alignment.{top}", names)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports_inside_the_package_are_relative_and_explicit(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not of("alignment", [alias.name for alias in node.names]), ast.unparse(node)
        if isinstance(node, ast.ImportFrom):
            assert node.level or not of("alignment", [node.module]), ast.unparse(node)
            assert all(alias.name != "*" for alias in node.names), ast.unparse(node)


def test_nothing_but_what_is_declared_is_imported_at_the_top():
    """At the top of a file: the standard library, NumPy, Numba in its one file, and ourselves."""
    allowed = set(sys.stdlib_module_names) | {"numpy", "numba", "alignment"}
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert {name.split(".")[0] for name in names} <= allowed, f"{path.name}: {ast.unparse(node)}"


def test_importing_the_package_is_light():
    program = "import sys, json, alignment; print(json.dumps([alignment.__file__, sorted(sys.modules)]))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=120, check=True
    )
    origin, loaded = json.loads(run.stdout)
    assert Path(origin) == PACKAGE / "__init__.py"
    assert {name for name in loaded if name.split(".")[0] in LATE} == set()


def test_the_table_of_contents_is_complete():
    """What DESIGN names is there, and every name of __all__ is documented."""
    frozen = [
        "shift",
        "shift_gradients",
        "MSE",
        "NCC",
        "Gaussian",
        "minimise",
        "GradientDescent",
        "Adam",
        "Newton",
        "Descent",
        "check_gradient",
        "GradientCheck",
        "register",
        "Registration",
        "colorize",
        "Colorization",
        "datasets",
        "read_image",
        "write_image",
    ]
    if not hasattr(alignment, "__all__"):
        pytest.skip("the table of contents is not written yet")
    assert len(alignment.__all__) == len(set(alignment.__all__))
    for name in alignment.__all__:
        assert getattr(alignment, name).__doc__ or name.startswith("__"), name
    assert set(frozen) <= set(dir(alignment))
