"""A short run of the fuzzer, so that its harness stays alive; the long ones are in README.md of this folder."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: pip install atheris")
@pytest.mark.parametrize(("target", "options"), [("files", []), ("register", ["-max_len=4000", "-len_control=0"])])
def test_a_short_run_finds_nothing(tmp_path, target, options):
    (tmp_path / "corpus").mkdir()
    command = [sys.executable, HERE / "harness.py", target, "corpus", "-max_total_time=20", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = int(done.stderr.rsplit("Done ", 1)[1].split()[0])
    assert runs > 100
    assert not list(tmp_path.glob("crash-*"))
