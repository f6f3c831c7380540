"""Pictures of an alignment: what it looked like before and after, the loss and the way through it, what is left over.

Each function draws on the axes it is given, or on new ones for None, and returns them, so that figures can be put
together freely; without pyplot none of them touches matplotlib's global state, so all work without a screen. The
colours stay apart for colour-blind readers.
"""

from __future__ import annotations

from .checks import gradient_check
from .demonstration import demo_figure
from .descents import convergence, path
from .drifts import drift
from .errors import bias_curve
from .fields import displacement_map
from .film import animation, check_animation, save_animation
from .kernels import cell, kernel
from .landscapes import landscape
from .pictures import before_after, detail, residual, unaligned
from .plate import plate_figure
from .studies import causes_figure, study_figure
from .style import COLOURS, CYCLE, MARKERS, new_figure, save
from .tables import table
from .tiles import tiles_figure

__all__ = [
    "COLOURS",
    "CYCLE",
    "MARKERS",
    "animation",
    "before_after",
    "bias_curve",
    "causes_figure",
    "cell",
    "check_animation",
    "convergence",
    "demo_figure",
    "detail",
    "displacement_map",
    "drift",
    "gradient_check",
    "kernel",
    "landscape",
    "new_figure",
    "path",
    "plate_figure",
    "residual",
    "save",
    "save_animation",
    "study_figure",
    "table",
    "tiles_figure",
    "unaligned",
]
