"""What every test of the project goes through, doctests of the package included."""

import os
import sys

import pytest

# as many tests run side by side as there are cores: linear algebra in threads of its own took fifteen times as long
for _library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _no_figures_left():
    """Close the figures that a test has opened: pyplot keeps them, and warns when there are many."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
