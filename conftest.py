"""What every test of the project goes through, doctests of the package included."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _no_figures_left():
    """Close the figures that a test has opened: pyplot keeps them, and warns when there are many."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
