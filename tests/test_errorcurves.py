"""Error curves: logarithmic axes, guides and labels."""

from __future__ import annotations

import math

import matplotlib
import pytest

from alignment.gradcheck import check_gradient

from .gradients import AT, quadratic, smooth

matplotlib.use("Agg")


@pytest.mark.parametrize("function", [quadratic, smooth, lambda x, y: (math.nan, (1.0, 1.0))])
def test_the_plot_has_logarithmic_axes_guides_and_labels(function):
    check = check_gradient(function, AT)
    ax = check.plot()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert "step" in ax.get_xlabel()
    assert "analytic" in ax.get_ylabel()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0].startswith("x")
    if math.isfinite(check.value):
        assert {"slope 1", "slope 2"} <= set(labels)
    assert check.plot(ax) is ax
    import matplotlib.pyplot as plt

    plt.close(ax.figure)
