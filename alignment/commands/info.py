"""``alignment info``: what a report of a defect should contain."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any

from .._version import __version__
from .arguments import command
from .console import OK, STARTING, Session


def add(commands: Any) -> None:
    """Add the command that describes the installation."""
    command(commands, "info", run, "show versions, the cache folder, and the machine", "alignment info --json")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print what a report of a defect should contain."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    with session.clock.stage(STARTING):
        cache = _cache_folder()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    libraries = ("numpy", "numba", "llvmlite", "imageio", "pillow", "tifffile", "imagecodecs", "matplotlib", "tqdm")
    facts: dict[str, Any] = {
        "alignment": __version__,
        "python": platform.python_version(),
        **{name: installed(name) for name in libraries},
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "cores": usable,
        "threads": int(os.environ.get("NUMBA_NUM_THREADS") or usable or 1),
        "cache": cache,
    }
    session.json(facts)
    session.say("\n".join(f"{name:11}  {'not installed' if fact is None else fact}" for name, fact in facts.items()))
    return OK


def _cpu_name() -> str:
    """Return what the processor calls itself."""
    import platform

    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cache_folder() -> str:
    """Return where the compiled kernels are kept between runs."""
    from .. import _kernels

    for kernel in list(vars(_kernels).values()):
        folder = getattr(getattr(kernel, "stats", None), "cache_path", None)
        if folder:
            return str(folder)
    return "none: kernels are compiled anew in each process"
