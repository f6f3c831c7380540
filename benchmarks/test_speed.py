"""The pieces of `speed.py` under pytest-benchmark: one group of rows for each base.

    pytest benchmarks/test_speed.py --benchmark-group-by=group [--benchmark-json FILE]

The largest size, plates of full size, memory, and what needs processes of its own are left to `speed.py`, where a run
stays short.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import speed

SIZES = speed.SIZES[:2]
MAKERS: list[Callable[[], speed.Group]] = [
    *(partial(speed.objectives, size, dtype) for size in SIZES for dtype in ("float32", "float64")),
    *(partial(speed.threads, size) for size in SIZES),
    partial(speed.published, None),
    speed.steps,
    speed.registration,
    speed.exhaustive,
]
if importlib.util.find_spec("torch"):
    MAKERS.append(partial(speed.autograd, SIZES[0]))
CALLS = [
    pytest.param(group.title, name, call, id=f"{group.title}: {name}")
    for group in (make() for make in MAKERS)
    for name, call in group.calls.items()
]


@pytest.mark.parametrize(("title", "name", "call"), CALLS)
def test_speed(benchmark: Any, title: str, name: str, call: speed.Call) -> None:
    benchmark.group = title
    benchmark.name = name
    call()  # compiles, allocates
    benchmark(call)
