"""The command line on a real scheduler: what its workers write is what one process writes, also when one is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import tifffile

from alignment import cli, datasets, pieces, write_image

from .test_batch import POSIX, ROOT, Cluster
from .test_cli_stack import frames, paged

pytestmark = [pytest.mark.slow, POSIX]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Return a scheduler with two workers, and work in a folder of its own."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    (tmp_path / "cluster").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    made = Cluster(tmp_path / "cluster", [str(ROOT)])
    try:
        made.add_worker()
        made.add_worker()
        with made.client() as client:
            client.wait_for_workers(2, timeout=60)
            made.address = client.scheduler.address
        yield made
    finally:
        made.close()


def killed_when(happened, process):
    """Kill a process, in a thread, when something has happened."""

    def watch():
        while not happened():
            if process.poll() is not None:
                return
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_plates_are_the_same_whoever_makes_them(cluster, capsys):
    plate = datasets.demo_plate(dtype="uint8").plate
    Path("scans").mkdir()
    for number in range(10):
        write_image(f"scans/{number}.png", plate[number : plate.shape[0] - 2 * number])
    assert cli.main(["colorize", "scans", "-o", "here", "--json"]) == 0
    here = json.loads(capsys.readouterr().out)["plates"]
    watch = killed_when(lambda: len(list(Path("there").glob("*_color.png"))) > 1, cluster.processes[-1])
    assert cli.main(["colorize", "scans", "-o", "there", "--json", "--scheduler", cluster.address]) == 0
    watch.join(60)
    assert cluster.processes[-1].wait(60) == -signal.SIGKILL
    there = json.loads(capsys.readouterr().out)["plates"]
    pictures = sorted(path.name for path in Path("here").glob("*.png"))
    assert pictures == [f"{number}_color.png" for number in range(10)]
    assert sorted(path.name for path in Path("there").iterdir() if not path.name.startswith(".")) == sorted(
        path.name for path in Path("here").iterdir()
    )
    for name in pictures:
        assert Path("here", name).read_bytes() == Path("there", name).read_bytes()
    for one, other in zip(here, there, strict=True):
        assert one["registrations"] == other["registrations"]
        assert (one["status"], one["crop"]) == (other["status"], other["crop"])
        assert os.path.samefile(one["input"], other["input"])


def test_a_stack_is_the_same_whoever_registers_it(cluster, capsys, monkeypatch):
    monkeypatch.setattr(pieces, "LENGTH", 2)
    paged("movie.tif", frames(bad=3))
    stack = ["stack", "movie.tif", "--to", "mean", "-q"]
    assert cli.main([*stack, "-o", "here.tif", "--table", "here.json"]) == 3
    there = ["-o", "there.tif", "--table", "there.json", "--scheduler", cluster.address]
    begun = [Path("there.json.partial"), Path("there.json")]
    watch = killed_when(lambda: any(path.exists() for path in begun), cluster.processes[-1])
    assert cli.main([*stack, *there]) == 3
    watch.join(60)
    assert Path("here.json").read_bytes() == Path("there.json").read_bytes()
    assert Path("here.tif").read_bytes() == Path("there.tif").read_bytes()
    assert len(tifffile.imread("there.tif")) == 5
    assert sorted(map(str, Path().iterdir())) == ["here.json", "here.tif", "movie.tif", "there.json", "there.tif"]
