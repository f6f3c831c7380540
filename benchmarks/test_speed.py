"""The pieces of `speed.py` under pytest-benchmark: one group of rows for each base.

    pytest benchmarks/test_speed.py --benchmark-group-by=group [--benchmark-json FILE]

The largest size is left to `speed.py`, where a run stays short.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import speed

GROUPS: list[tuple[str, Callable[[], speed.Group]]] = [
    *(
        (f"{size[0]} x {size[1]}, {dtype}", lambda size=size, dtype=dtype: speed.objectives(size, dtype))
        for size in speed.SIZES[:2]
        for dtype in ("float32", "float64")
    ),
    ("steps", speed.steps),
    ("registration", speed.registration),
    ("exhaustive", speed.exhaustive),
]
if importlib.util.find_spec("torch"):
    GROUPS.append(("autograd", lambda: speed.autograd(speed.SIZES[0])))
CALLS = [
    pytest.param(title, name, call, id=f"{title}: {name}")
    for title, make in GROUPS
    for name, call in make().calls.items()
]


@pytest.mark.parametrize(("title", "name", "call"), CALLS)
def test_speed(benchmark: Any, title: str, name: str, call: speed.Call) -> None:
    benchmark.group = title
    benchmark.name = name
    call()  # compiles, allocates
    benchmark(call)
