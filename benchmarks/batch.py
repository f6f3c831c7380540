"""What scheduling costs and how it scales, measured; and a plan for much more of it, simulated. Prints Markdown.

    python benchmarks/batch.py [PLATE|FOLDER ...] [--plates 100] [--rounds 3] [--update benchmarks/SCALE.md]

The plates are copies of those given (or of the demonstration plate, where none is given), each with a different crop,
written into a temporary folder. What is done with each is what `alignment colorize` does: read, align, write. The ways
to do it take turns: one process, two, one dask worker, two. Their results are compared to the last bit before any
ratio is printed.

Wall time is for ratios within one run. Beside them stands what plain work gains from a second process on the same
machine, in the same turns, and how much of the machine others used meanwhile. CPU time, which a machine that is busy
with other things hardly changes, is what the plan is made of: a small simulation of workers that read from one storage,
compute, and write to it. The simulation is first asked for the very run that was just measured.

Each table stands between two comments in the page given by --update, and replaces the one that is there.
"""

# ruff: noqa: E402  (the environment must be set before NumPy is loaded)
from __future__ import annotations

import os

# one process is compared with several that are told the same
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import contextlib
import functools
import hashlib
import heapq
import importlib.util
import itertools
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import alignment as al
from alignment.batch import Outcome, run
from alignment.frames import frames_of

FULL_SIZE = 2000  # px of width from which a plate counts as a full-size scan
FRAMES = 500  # of one file of frames
FRAME_SHAPE = (480, 480)
PIECE = 2000  # frames that a worker registers before it asks for more, `alignment.pieces.LENGTH`
GIGABIT = 1e9 / 8
# glibc then keeps what is freed; dask's workers are told the opposite unless the environment says something
KEEP = {"MALLOC_TRIM_THRESHOLD_": str(2**27), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


# the work, done by whoever is told to: read, align, write


def do_plate(folder: str, suffix: str, path: str) -> dict[str, Any]:
    """Colour one plate as the command line does; say what came out and what each part cost."""
    target = Path(folder, f"{Path(path).stem}-{os.getpid()}{suffix}")
    laps = [time.process_time()]
    plate = al.read_image(path)
    laps.append(time.process_time())
    made = al.colorize(plate)
    laps.append(time.process_time())
    al.write_image(target, made.rgb, overwrite=True)
    laps.append(time.process_time())
    written = target.read_bytes()
    target.unlink()
    return {
        "result": (hashlib.sha256(written).hexdigest(), json.dumps(made.to_dict(), sort_keys=True)),
        "cpu": dict(zip(("read", "align", "write"), np.diff(laps).tolist(), strict=True)),
        "bytes": {"read": Path(path).stat().st_size, "write": len(written)},
    }


def do_frames(max_shift: float, path: str) -> dict[str, Any]:
    """Register all pages of a file as `alignment stack` does, one page in memory at a time."""
    begun = time.process_time()
    for _ in frames_of(path):
        pass
    read = time.process_time()
    result = al.register_stack(path, max_shift=max_shift)
    aligned = time.process_time()
    cpu = {"read": read - begun, "align": max(aligned - read - (read - begun), 0.0), "write": 0.0}
    return {"result": result.to_json(), "cpu": cpu, "bytes": {"read": Path(path).stat().st_size, "write": 0}}


def do_nothing(item: Any) -> Any:
    """Return the item: what is left is the scheduling."""
    return item


# making the data


def copies(sources: list[Path], count: int, folder: Path) -> list[str]:
    """Write copies of plates, each with another crop, and return their paths."""
    images = [al.read_image(path) for path in sources] or [al.datasets.demo_plate(dtype="uint8").plate]
    paths = []
    for i, image in zip(range(count), itertools.cycle(images), strict=False):
        turn = i // len(images)
        top, bottom, left, right = turn % 3, turn % 5, turn % 4, turn % 7
        path = folder / f"plate-{i:05}.png"
        al.write_image(path, image[top : image.shape[0] - bottom, left : image.shape[1] - right])
        paths.append(str(path))
    return paths


def large_plate(folder: Path) -> Path:
    """Write the demonstration plate enlarged to the size of a full scan, with grain, which no file can compress."""
    from PIL import Image

    plate = Image.fromarray(al.datasets.demo_plate(dtype="uint8").plate)
    large = np.asarray(plate.resize((3700, 9600), Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(0).normal(0, 2, large.shape)
    path = folder / "full-size.png"
    al.write_image(path, np.clip(np.rint(large + grain), 0, 255).astype(np.uint8))
    return path


def frame_files(count: int, folder: Path) -> list[str]:
    """Write files of frames that drift about, 16 bits."""
    import tifffile

    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        walk = np.clip(np.cumsum(rng.normal(0, 0.5, (8, 2)), axis=0), -8, 8)
        pairs = [al.datasets.shifted_pair(dx, dy, shape=FRAME_SHAPE, area=1) for dx, dy in walk]
        scenes = [pairs[0].reference, *(pair.moving for pair in pairs)]
        path = folder / f"frames-{i:03}.tif"
        with tifffile.TiffWriter(path) as writer:
            for k in range(FRAMES):
                frame = scenes[k % len(scenes)] * 0.8 + 0.1 + rng.normal(0, 0.02, FRAME_SHAPE)
                writer.write((np.clip(frame, 0, 1) * 65535).astype(np.uint16), photometric="minisblack")
        paths.append(str(path))
    return paths


# measuring


class Timed(NamedTuple):
    """A run over some items, when each outcome came, and how many cores others kept busy meanwhile."""

    outcomes: list[Outcome]
    arrivals: NDArray[Any]  # seconds since the call of `run`
    spent: NDArray[Any]  # CPU seconds of this process until then
    others: float = float("nan")

    @property
    def seconds(self) -> float:
        """All of it, with the start of the workers."""
        return float(self.arrivals[-1])

    def steady(self, skip: int) -> float:
        """Seconds per item once the first few, which wait for the workers to start, are out of the way."""
        return float((self.arrivals[-1] - self.arrivals[skip - 1]) / (len(self.arrivals) - skip))

    def here(self, skip: int) -> float:
        """CPU seconds per item that this process spends, on nothing but scheduling if the work is done elsewhere."""
        return float((self.spent[-1] - self.spent[skip - 1]) / (len(self.spent) - skip))

    def cpu(self, skip: int) -> float:
        """Return the mean CPU seconds of an item, without the first few, which load the kernels."""
        return statistics.fmean(sum(outcome.value["cpu"].values()) for outcome in self.outcomes[skip:])


def timed(function: Callable[[Any], Any], items: Any, **how: Any) -> Timed:
    """Run, and note when each outcome comes."""
    busy, own = busy_seconds(), own_seconds()
    begun, spent_before = time.perf_counter(), time.process_time()
    outcomes, arrivals, spent = [], [], []
    for outcome in run(function, items, **how):
        if outcome.error is not None:
            raise outcome.error
        outcomes.append(outcome)
        arrivals.append(time.perf_counter() - begun)
        spent.append(time.process_time() - spent_before)
    took = time.perf_counter() - begun
    ours = own_seconds() - own
    if "scheduler" in how:  # its workers are no children of this process
        ours += sum(sum(o.value["cpu"].values()) for o in outcomes if isinstance(o.value, dict))
    return Timed(outcomes, np.array(arrivals), np.array(spent), max((busy_seconds() - busy - ours) / took, 0.0))


def busy_seconds() -> float:
    """Return the CPU seconds that this machine has spent, or was kept from spending by its host, since it started."""
    try:
        user, nice, system, _, _, *rest = Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:]
    except OSError:
        return float("nan")
    interrupts = [float(value) for value in rest[:3]]  # with the time stolen
    return (float(user) + float(nice) + float(system) + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Return the CPU seconds of this process and of all its children that have ended."""
    return sum(os.times()[:4])


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Let processes that are started now keep the memory that they free, see `handed_back`."""
    before = {name: os.environ.get(name) for name in KEEP}
    os.environ.update(KEEP)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def ways(stack: Any) -> dict[str, dict[str, Any]]:
    """Return the ways to run, the dask ones only where dask is installed."""
    found: dict[str, dict[str, Any]] = {"this process": {}, "2 processes": {"jobs": 2}}
    if importlib.util.find_spec("distributed"):
        from distributed import LocalCluster

        for count in (1, 2):
            options = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": ":0"}
            with kept_memory():
                cluster = stack.enter_context(LocalCluster(**options))
            threads = [worker["nthreads"] for worker in cluster.scheduler_info["workers"].values()]
            if threads != [1] * count:
                raise SystemExit(f"the workers have {threads} threads instead of one in each of {count}")
            found[f"{count} dask worker{'s'[: count - 1]}"] = {"scheduler": cluster.scheduler_address}
    return found


def measure_ways(
    function: Callable[[Any], Any], items: list[str], how: dict[str, dict[str, Any]], rounds: int
) -> tuple[dict[str, list[Timed]], dict[str, list[float]]]:
    """Let the ways take turns, and plain work before each turn; all must give the same results."""
    function(items[0])  # compiles, or loads what was compiled
    taken: dict[str, list[Timed]] = {name: [] for name in how}
    plain: dict[str, list[float]] = {name: [] for name in PLAIN}
    expected = None
    for turn in range(rounds):
        # each way comes first once in a while
        names = list(how)[turn % len(how) :] + list(how)[: turn % len(how)]
        for kind, ratio in second_core().items():
            plain[kind].append(ratio)
        for name in names:
            one = timed(function, items, **how[name])
            results = [outcome.value["result"] for outcome in one.outcomes]
            expected = expected or results
            if results != expected:
                raise SystemExit(f"{name} gave other results than {names[0]}: a defect")
            taken[name].append(one)
            print(f"{name}, turn {turn + 1}: {one.seconds:.2f} s", file=sys.stderr)
    return taken, plain


def measure_frames(paths: list[str]) -> list[Outcome]:
    """Register files of frames; the first one, which loads the kernels, is done once more."""
    do_frames(10.0, paths[0])
    return timed(functools.partial(do_frames, 10.0), paths).outcomes


def ways_table(taken: dict[str, list[Timed]], skip: int) -> str:
    """Return the table of the ways: whole and steady, over the way they are compared with."""
    rows = [
        "| | items per second | CPU per item | others kept busy | over | with starting | once started |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in taken.items():
        base = {"2 processes": "this process", "2 dask workers": "1 dask worker"}.get(name)
        cells = ["", "", ""]
        if base:
            pairs = list(zip(taken[base], runs, strict=True))
            whole = statistics.median(a.seconds / b.seconds for a, b in pairs)
            steady = statistics.median(a.steady(skip) / b.steady(skip) for a, b in pairs)
            cells = [base, f"{whole:.2f}", f"{steady:.2f}"]
        rate = 1 / statistics.median(one.steady(skip) for one in runs)
        cpu = statistics.median(one.cpu(skip) for one in runs)
        others = statistics.median(one.others for one in runs)
        rows.append(f"| {name} | {rate:.3g} | {1e3 * cpu:.0f} ms | {others:.2f} cores | {' | '.join(cells)} |")
    return "\n".join(rows)


def overhead_table(how: dict[str, dict[str, Any]], items: int, rounds: int) -> tuple[str, dict[str, float]]:
    """Return what an item costs that is no work: a number, and an image of a megabyte there and back."""
    image = np.zeros((512, 512), np.float32)
    cases = {"a number": (list(range(max(items, 100))), 50), "an image of 1 MB": ([image] * max(items // 10, 30), 10)}
    costs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for (name, options), (case, (load, skip)) in itertools.product(how.items(), cases.items()):
            one = timed(do_nothing, load, **options)
            costs.setdefault((name, case), []).append((one.steady(skip), one.here(skip)))
    rows = ["| | " + " | ".join(f"{case} | of it CPU here" for case in cases) + " |", "|---|---|---|---|---|"]
    for name in how:
        medians = (np.median(costs[name, case], axis=0) for case in cases)
        rows.append(f"| {name} | {' | '.join(f'{1e3 * wall:.3f} ms | {1e3 * cpu:.3f} ms' for wall, cpu in medians)} |")
    return "\n".join(rows), {name: float(np.median(costs[name, "a number"], axis=0)[1]) for name in how}


def count_for(kind: str, seconds: float) -> int:
    """Do plain work again and again, and return how often it was done in that time."""
    call = PLAIN[kind]()
    begun, number = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        call()
        number += 1
    return number


def _counting() -> Callable[[], object]:
    """Count, which needs nothing but a core."""

    def count() -> None:
        for _ in range(10_000):
            pass

    return count


def _arithmetic() -> Callable[[], object]:
    """Multiply arrays that fit into a core's own cache."""
    image = np.ones((128, 256), np.float32)
    return functools.partial(np.multiply, image, image, out=np.empty_like(image))


def _transform() -> Callable[[], object]:
    """Transform an image of the size of an exposure."""
    return functools.partial(np.fft.rfft2, np.ones((384, 400), np.float32))


PLAIN: dict[str, Callable[[], Callable[[], object]]] = {
    "counting": _counting,
    "arithmetic in the cache": _arithmetic,
    "Fourier transforms": _transform,
}


def second_core(seconds: float = 0.3, times: int = 6) -> dict[str, float]:
    """Return how much further two processes get with plain work than one in the same time: 2 on two idle cores."""
    kinds = [kind for kind in PLAIN for _ in range(times)]
    with contextlib.closing(run(functools.partial(_plain, seconds), kinds, jobs=2)) as outcomes:
        both = [outcome.value for outcome in outcomes]
    ratios = {}
    for place, kind in enumerate(PLAIN):
        counts = both[place * times + 2 : (place + 1) * times]  # two to begin with, when both may not be at it yet
        ratios[kind] = 2 * statistics.median(counts) / statistics.median(count_for(kind, seconds) for _ in counts)
    return ratios


def _plain(seconds: float, kind: str) -> int:
    """Do one kind of plain work."""
    return count_for(kind, seconds)


def cores_table(plain: dict[str, list[float]]) -> str:
    """Return what plain work gains from a second process."""
    rows = ["| two processes over one | ratio | from | to |", "|---|---|---|---|"]
    return "\n".join(
        [
            *rows,
            *(f"| {kind} | {statistics.median(r):.2f} | {min(r):.2f} | {max(r):.2f} |" for kind, r in plain.items()),
        ]
    )


def handed_back(path: str, rounds: int) -> str:
    """Say what it costs to hand memory back whenever an array is freed, as dask's workers do unless told otherwise."""
    program = (
        "import sys, resource, alignment as al\n"
        "plate = al.read_image(sys.argv[1])\n"
        "al.colorize(plate)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF)\n"
        "for _ in range(3): al.colorize(plate)\n"
        "after = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, after.ru_minflt - before.ru_minflt)"
    )
    clean = {name: value for name, value in os.environ.items() if name not in KEEP}
    clean["PYTHONPATH"] = os.pathsep.join(entry or "." for entry in sys.path)
    ratios, faults = [], {}
    for _ in range(rounds):
        seconds = []
        for way, extra in (("kept", KEEP), ("handed back", {"MALLOC_TRIM_THRESHOLD_": "65536"})):
            command = [sys.executable, "-c", program, path]
            told = subprocess.run(command, env=clean | extra, capture_output=True, text=True, check=True).stdout.split()
            seconds.append(float(told[0]))
            faults[way] = int(told[1]) // 3
        ratios.append(seconds[1] / seconds[0])
    return (
        f"A plate of low resolution takes {statistics.median(ratios):.2f} times the CPU time where freed memory is "
        f"handed back at once: {faults['handed back']:,} page faults instead of {faults['kept']:,}."
    )


def starting_seconds(rounds: int) -> float:
    """Return the CPU seconds that a worker takes until it can align: interpreter, imports, compiled kernels."""
    program = (
        "import time, numpy as np, alignment as al\n"
        "al.colorize((np.random.default_rng(0).random((300, 100)) * 255).astype(np.uint8))\n"
        "print(time.process_time())"
    )
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    command = [sys.executable, "-c", program]
    return statistics.median(
        float(subprocess.run(command, env=here, capture_output=True, text=True, check=True).stdout)
        for _ in range(rounds + 1)
    )


# the plan


class Load(NamedTuple):
    """One item: what it reads, computes, and writes."""

    read: float  # bytes
    cpu: float  # seconds
    write: float  # bytes
    spread: float = 0.0  # standard deviation of the seconds over their mean

    @property
    def bytes(self) -> float:
        """What storage must move for it."""
        return self.read + self.write


class Site(NamedTuple):
    """Where the work is done."""

    workers: int
    storage: float = float("inf")  # bytes per second, shared by all
    link: float = float("inf")  # bytes per second of one worker
    starting: float = 0.0  # seconds until a worker takes its first item
    dispatch: float = 0.0  # seconds that the scheduler spends on each item, one after the other
    losses: float = 0.0  # of a worker, per hour of its computing


class Finished(NamedTuple):
    """How a simulated run ended."""

    seconds: float
    busy: float  # share of the workers' time that was computing
    moved: float  # share of what the storage could have moved
    lost: int  # items that had to be done again


def simulate(load: Load, count: int, site: Site, *, seed: int = 0) -> Finished:
    """Simulate workers that read, compute and write, sharing one storage equally.

    Notes
    -----
    Events happen one at a time. Storage serves all n transfers under way at once, each at min(link, storage / n) bytes
    per second; because all get the same, a transfer of b bytes that begins when S bytes have been served to each ends
    when S + b have been, and the next to end is the smallest of these sums, whatever n does meanwhile. A worker that is
    lost loses its item, which is done again, and comes back after its start.
    """
    rng = np.random.default_rng(seed)
    sigma = np.sqrt(np.log1p(load.spread**2))
    now = served = computing = moved = 0.0
    waiting, free, lost = count, 0.0, 0
    order = itertools.count()  # breaks ties, so that the heaps never compare anything else
    timers: list[tuple[float, int, str]] = [(site.starting, next(order), "idle") for _ in range(site.workers)]
    transfers: list[tuple[float, int, str]] = []
    unfinished = count
    while unfinished:
        rate = min(site.link, site.storage / len(transfers)) if transfers else 0.0
        arrival = now + max(transfers[0][0] - served, 0.0) / rate if transfers else float("inf")
        if timers and timers[0][0] <= arrival:
            then, _, event = heapq.heappop(timers)
            served += (then - now) * rate if transfers and rate < float("inf") else 0.0
        else:
            then, event = arrival, transfers[0][2]
            served = heapq.heappop(transfers)[0]
        now = then
        if event == "idle":
            if waiting:
                waiting -= 1
                free = max(free, now) + site.dispatch
                heapq.heappush(timers, (free, next(order), "given"))
        elif event == "given":
            heapq.heappush(transfers, (served + load.read, next(order), "read"))
        elif event == "read":
            moved += load.read
            seconds = load.cpu * float(rng.lognormal(-(sigma**2) / 2, sigma))
            until = rng.exponential(3600 / site.losses) if site.losses else float("inf")
            computing += min(seconds, until)
            heapq.heappush(timers, (now + min(seconds, until), next(order), "done" if seconds <= until else "lost"))
        elif event == "done":
            heapq.heappush(transfers, (served + load.write, next(order), "written"))
        elif event == "lost":
            lost += 1
            waiting += 1
            # whoever has nothing to do was not kept: the newcomer takes it
            heapq.heappush(timers, (now + site.starting, next(order), "idle"))
        else:
            moved += load.write
            unfinished -= 1
            heapq.heappush(timers, (now, next(order), "idle"))
    capacity = now * site.storage
    return Finished(now, computing / (now * site.workers), moved / capacity if np.isfinite(capacity) else 0.0, lost)


def knee(load: Load, storage: float) -> float:
    """Return the number of workers at which all of them together ask for as much as the storage gives."""
    return storage * (load.cpu / load.bytes) + 1


def plan_table(load: Load, count: int, storages: dict[str, float], workers: list[int], rest: dict[str, float]) -> str:
    """Return the table of hours by workers and storage, and where storage becomes the limit."""
    rows = [
        "| workers | " + " | ".join(storages) + " |",
        "|---|" + "---|" * len(storages),
    ]
    for number in workers:
        cells = []
        for storage in storages.values():
            done = simulate(load, count, Site(number, storage, link=min(storage, 10 * GIGABIT), **rest))
            cells.append(f"{duration(done.seconds)} ({done.busy:.0%} busy, storage {done.moved:.0%})")
        rows.append(f"| {number} | " + " | ".join(cells) + " |")
    rows.append(
        "| storage is the limit from | " + " | ".join(f"{knee(load, s):.0f} workers" for s in storages.values()) + " |"
    )
    return "\n".join(rows)


def duration(seconds: float) -> str:
    """Say a time in the unit that suits it."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def load_of(outcomes: list[Outcome], divide: int = 1) -> Load:
    """Return the mean item among some outcomes; divided where an outcome stands for several."""
    cpu = np.array([sum(outcome.value["cpu"].values()) for outcome in outcomes])
    sizes = {way: statistics.fmean(o.value["bytes"][way] for o in outcomes) / divide for way in ("read", "write")}
    return Load(sizes["read"], float(cpu.mean()) / divide, sizes["write"], float(cpu.std() / cpu.mean()))


def parts_table(loads: dict[str, list[Outcome]], divide: dict[str, int]) -> str:
    """Return what each kind of item costs, part by part."""
    rows = ["| item | bytes read | reading | aligning | writing | bytes written |", "|---|---|---|---|---|---|"]
    for name, outcomes in loads.items():
        by = divide.get(name, 1)
        load = load_of(outcomes, by)
        cpu = [statistics.fmean(o.value["cpu"][part] for o in outcomes) / by for part in ("read", "align", "write")]
        seconds = " | ".join(f"{value:.2f} s" if value >= 0.5 else f"{1e3 * value:.1f} ms" for value in cpu)
        rows.append(f"| {name} | {load.read / 1e6:.2f} MB | {seconds} | {load.write / 1e6:.2f} MB |")
    return "\n".join(rows)


def check_table(taken: dict[str, list[Timed]], starting: float, dispatch: float, skip: int) -> str:
    """Return what the simulation says of the run that was measured, beside the measurement."""
    from_one = taken["this process"]
    load = load_of([outcome for one in from_one for outcome in one.outcomes])
    # the wall time of a busy machine is longer than its CPU time: the simulation is given that of one process
    load = load._replace(cpu=statistics.median(one.steady(skip) for one in from_one))
    count = len(from_one[0].outcomes)
    rows = ["| | simulated | measured |", "|---|---|---|"]
    told = simulate(load, count, Site(1)).seconds
    rows.append(f"| this process | {told:.1f} s | {statistics.median(one.seconds for one in from_one):.1f} s |")
    told = simulate(load, count, Site(2, starting=starting, dispatch=dispatch)).seconds
    measured = statistics.median(one.seconds for one in taken["2 processes"])
    rows.append(f"| 2 processes, with their start | {told:.1f} s | {measured:.1f} s |")
    return "\n".join(rows)


def tables(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Measure and simulate; yield each table with its name."""
    sources = sorted(itertools.chain.from_iterable(plates_in(Path(path)) for path in arguments.plates))
    wide = {path: al.read_image(path).shape[1] >= FULL_SIZE for path in sources}
    small, large = ([path for path in sources if wide[path] == kind] for kind in (False, True))
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        how = ways(stack)
        plate = functools.partial(do_plate, name, ".png")
        paths = copies(small, arguments.count, folder)
        taken, plain = measure_ways(plate, paths, how, arguments.rounds)
        kind = "the plates given" if small else "the demonstration plate"
        machine = (
            f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}, {os.cpu_count()} cores"
        )
        what = f"{arguments.count} copies of {kind}, {arguments.rounds} turns for each way"
        scan = f"{len(large)} scans given" if large else "the demonstration plate enlarged"
        yield "machine", f"{machine}; {what}; full size: {scan}."
        yield "ways", ways_table(taken, arguments.skip)
        yield "cores", cores_table(plain)
        if sys.platform == "linux":
            yield "memory", handed_back(paths[0], arguments.rounds)
        overhead, costs = overhead_table(how, arguments.items, arguments.rounds)
        yield "overhead", overhead
        starting = starting_seconds(arguments.rounds)
        yield "starting", f"A worker takes {starting:.1f} CPU seconds to start: interpreter, imports, compiled kernels."
        yield "check", check_table(taken, starting, costs["2 processes"], arguments.skip)
        scans = [str(path) for path in large or [large_plate(folder)]]
        loads = {
            "low-resolution plate": taken["this process"][-1].outcomes,
            "full-size plate, PNG": timed(functools.partial(do_plate, name, ".png"), scans).outcomes,
            "full-size plate, TIFF": timed(functools.partial(do_plate, name, ".tif"), scans).outcomes,
            "frame of 480 x 480, 16 bits": measure_frames(frame_files(2, folder)),
        }
        yield "items", parts_table(loads, {"frame of 480 x 480, 16 bits": FRAMES})
    storages = {f"{speed:g} Gbit/s": speed * GIGABIT for speed in arguments.storage}
    dispatch = costs.get("2 dask workers", costs["2 processes"])
    rest = {"starting": 5 * starting, "dispatch": dispatch, "losses": arguments.losses}
    for name, title in (("plates-png", "full-size plate, PNG"), ("plates-tiff", "full-size plate, TIFF")):
        yield name, plan_table(load_of(loads[title]), 10_000, storages, arguments.workers, rest)
    block = load_of(loads["frame of 480 x 480, 16 bits"])
    block = block._replace(write=block.read)  # the aligned frames are written as well, in the type they came in
    block = Load(*(PIECE / FRAMES * value for value in block[:3]), block.spread)
    yield "frames", plan_table(block, 1_000_000 // PIECE, storages, arguments.workers, rest)
    yield "losses", losses_table(load_of(loads["full-size plate, PNG"]), storages, rest)


def losses_table(load: Load, storages: dict[str, float], rest: dict[str, float]) -> str:
    """Return what lost workers cost."""
    storage = max(storages.values())
    rows = ["| losses per worker and hour | 10,000 plates on 32 workers | plates done again |", "|---|---|---|"]
    for losses in (0.0, 0.1, 1.0, 10.0):
        site = Site(32, storage, link=min(storage, 10 * GIGABIT), **{**rest, "losses": losses})
        done = simulate(load, 10_000, site)
        rows.append(f"| {losses:g} | {duration(done.seconds)} | {done.lost} |")
    return "\n".join(rows)


def plates_in(path: Path) -> list[Path]:
    """Return the images of a folder, or the file itself."""
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.suffix.lower() in (".tif", ".tiff", ".png", ".jpg", ".jpeg"))
    return [path]


def update(page: str, name: str, table: str) -> str:
    """Put a table into its place in a page."""
    pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.S)
    if not pattern.search(page):
        raise SystemExit(f"the page has no place for {name!r}: it needs <!-- begin {name} --> and <!-- end {name} -->")
    return pattern.sub(lambda found: f"{found[1]}{table}\n{found[2]}", page)


def main(argv: list[str] | None = None) -> int:
    """Measure, simulate, print, and bring the page up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plates", nargs="*", metavar="PLATE|FOLDER", help="scans to take copies of")
    parser.add_argument("--count", type=int, default=100, help="low-resolution plates (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way (default: %(default)s)")
    parser.add_argument("--skip", type=int, default=8, help="items before the steady part (default: %(default)s)")
    parser.add_argument("--items", type=int, default=2000, help="items that are no work (default: %(default)s)")
    parser.add_argument("--storage", type=float, nargs="+", default=[1, 10, 40], metavar="GBIT", help="Gbit/s of the "
                        "storages planned for (default: 1 10 40)")  # fmt: skip
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 8, 32, 128, 512], help="to plan for")
    parser.add_argument("--losses", type=float, default=0.01, help="workers lost, per hour of one (default: 0.01)")
    parser.add_argument("--update", metavar="PAGE", help="put the tables into this page, too")
    arguments = parser.parse_args(argv)
    for name, table in tables(arguments):
        print(f"\n**{name}**\n\n{table}", flush=True)
        if arguments.update:
            page = Path(arguments.update)
            page.write_text(update(page.read_text(encoding="utf-8"), name, f"\n{table}\n"), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
