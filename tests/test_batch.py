"""Scheduling: order, laziness, failures, lost workers, Ctrl-C, and the same values whoever computes them."""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import time
import traceback
import weakref
from pathlib import Path

import numpy as np
import pytest

import alignment
from alignment import InputError, batch
from alignment.batch import LostWorkerError, Outcome, run

ROOT = Path(alignment.__file__).parents[1]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of this kind exist on POSIX systems only")

# What the workers do. They import it, so it is a module of its own and as light as can be.
WORK = '''
import functools, os, pathlib, signal, sys, threading, time

SEEN_BY_A_FORK = False

def square(x):
    return x * x

def parity(x):
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x

class Particular(Exception):
    """Survives pickling as it is."""

class Stubborn(Exception):
    """Cannot be unpickled: its constructor wants two arguments, and pickle gives it one."""
    def __init__(self, what, number):
        super().__init__(f"{what} number {number}")

class Changing(Exception):
    """Says something else after each pickling."""
    def __init__(self, text):
        super().__init__(f"<{text}>")

def fail(kind):
    if kind == "exit":
        sys.exit(3)
    if kind == "memory":
        raise MemoryError("no more")
    if kind == "local":
        class Local(Exception):
            pass
        raise Local("defined inside")
    raise {"particular": Particular, "value": ValueError, "stubborn": lambda text: Stubborn(text, 7),
           "changing": Changing}[kind]("so there")

def unpicklable(x):
    return threading.Lock() if x == 1 else x

def noted(folder, x):
    """Leave a file for each time that an item is tried."""
    (pathlib.Path(folder) / f"{x}-{time.monotonic_ns()}").touch()
    return x

def once_deadly(folder, deadly, x):
    """Kill the process at the first attempt of one item."""
    tried = pathlib.Path(folder) / f"tried-{x}"
    if x == deadly and not tried.exists():
        tried.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return work(x)

def deadly(which, x):
    if x == which:
        os.kill(os.getpid(), signal.SIGKILL)
    return x

def work(x):
    """Evaluate an objective on images made from the number."""
    import numpy as np
    import alignment as al
    reference, moving = np.random.default_rng(x).random((2, 24, 32))
    value, gradient = al.MSE(reference, moving, domain=(4, 20, 4, 28)).value_and_gradient(0.3 + x / 1000, -0.4)
    return {"loss": value, "gradient": gradient, "image": al.shift(moving, 0.25, x / 999)}

def surroundings(names):
    found = {"pid": os.getpid(), "forked": SEEN_BY_A_FORK, **{name: os.environ.get(name) for name in names}}
    if names:
        import numba
        found["numba"] = numba.get_num_threads()
    return found

def interrupt_oneself(x):
    os.kill(os.getpid(), signal.SIGINT)
    return x

def slow(folder, x):
    """Write a file in the way that removes it when interrupted."""
    temporary = pathlib.Path(folder) / f"{x}-{os.getpid()}.tmp"
    try:  # an interruption may come as soon as the file is there
        temporary.touch()
        time.sleep(600)
    finally:
        temporary.unlink(missing_ok=True)

def start_others(x):
    from alignment.batch import run
    return [outcome.value for outcome in run(square, [1, 2], jobs=2)]

def leave_word(folder, x):
    """Have a line written when the process ends."""
    import atexit, gc
    atexit.register(lambda: (pathlib.Path(folder) / f"{x}").write_text(str(gc.get_freeze_count())))
    return x

def sized(block, x):
    return len(block) + x
'''


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Return the module of functions that workers, too, can import."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "batch_work.py").write_text(WORK, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.syspath_prepend(str(ROOT))
        yield importlib.import_module("batch_work")
    del sys.modules["batch_work"]


def partial(function, *arguments):
    import functools

    return functools.partial(function, *arguments)


def row(outcome):
    """Return what must not depend on who did the work, in a form that compares to the last bit."""
    error = outcome.error and (type(outcome.error), str(outcome.error))
    return outcome.index, pickle.dumps(outcome.item), pickle.dumps(outcome.value, 4), error


def gone(pid):
    """Return whether a process has ended, waiting for it for a while."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(autouse=True)
def _nothing_left_over():
    yield
    assert multiprocessing.active_children() == []


# order, values, errors


@pytest.mark.parametrize("jobs", [1, 3])
def test_outcomes_come_in_the_order_of_the_items(work, jobs):
    outcomes = list(run(work.parity, iter(range(31)), jobs=jobs))
    assert [outcome.index for outcome in outcomes] == list(range(31))
    assert [outcome.item for outcome in outcomes] == list(range(31))
    assert [outcome.value for outcome in outcomes] == [None if x % 2 else x for x in range(31)]
    assert [str(outcome.error) for outcome in outcomes if outcome.error] == [f"{x} is odd" for x in range(1, 31, 2)]
    assert {type(outcome.error) for outcome in outcomes} == {ValueError, type(None)}
    assert {outcome.attempts for outcome in outcomes} == {1}
    assert all(0 <= outcome.seconds < 60 for outcome in outcomes)


def test_a_slow_first_item_still_comes_first():
    begun = time.perf_counter()
    outcomes = list(run(time.sleep, [0.5, 0, 0, 0], jobs=2))
    assert [outcome.item for outcome in outcomes] == [0.5, 0, 0, 0]
    assert 0.5 <= outcomes[0].seconds <= time.perf_counter() - begun


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_items_no_outcomes(work, jobs):
    assert list(run(work.square, [], jobs=jobs)) == []


def test_processes_compute_what_one_process_computes(work):
    items = list(range(40))
    serial = [row(outcome) for outcome in run(work.work, items)]
    assert [row(outcome) for outcome in run(work.work, items, jobs=2)] == serial
    assert len({values for _, _, values, _ in serial}) == len(items)


@pytest.mark.parametrize("kind", ["particular", "value", "memory", "exit"])
def test_an_error_keeps_its_class_and_its_sentence(work, kind):
    (serial,), (there,) = list(run(work.fail, [kind])), list(run(work.fail, [kind], jobs=2))
    assert row(serial) == row(there)
    assert there.value is None
    expected = {"particular": work.Particular, "value": ValueError, "memory": MemoryError, "exit": RuntimeError}
    assert type(there.error) is expected[kind]
    # the line that raised it can be found from here
    assert "in fail" in "".join(traceback.format_exception(there.error))
    assert pickle.loads(pickle.dumps(there.error)).args == serial.error.args


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("stubborn", ": so there number 7"), ("local", ": defined inside"), ("changing", ": <so there>")],
)
def test_an_error_that_cannot_travel_keeps_its_sentence(work, kind, sentence):
    first, second = run(work.fail, [kind, "value"], jobs=2)
    assert type(first.error) is RuntimeError
    assert sentence in str(first.error)
    assert kind.capitalize() in str(first.error)
    assert str(second.error) == "so there"


def test_an_outcome_with_an_error_keeps_no_image_alive():
    class Image:
        pass

    seen = []

    def fail(item):
        image = Image()
        seen.append(weakref.ref(image))
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    (outcome,) = run(fail, [0])
    assert str(outcome.error) == "outer"
    assert seen[0]() is None
    assert "inner" in "".join(traceback.format_exception(outcome.error))


# how far ahead


def test_one_process_reads_no_further_than_it_is_asked(work):
    taken = []
    outcomes = run(work.square, (taken.append(x) or x for x in itertools.count()))
    assert taken == []
    assert [next(outcomes).value for _ in range(4)] == [0, 1, 4, 9]
    assert taken == [0, 1, 2, 3]


@pytest.mark.parametrize(("jobs", "ahead", "most"), [(2, 1, 1), (2, 3, 3), (2, None, 8)])
def test_an_endless_source_is_read_as_far_ahead_as_allowed(work, jobs, ahead, most):
    taken = []
    outcomes = run(work.square, (taken.append(x) or x for x in itertools.count()), jobs=jobs, ahead=ahead)
    assert taken == []
    for count in range(1, 30):
        assert next(outcomes).value == (count - 1) ** 2
        assert len(taken) - (count - 1) <= most
    assert len(taken) > 28
    assert len(taken) - 28 == most  # and no less: nobody waits for work that is there
    outcomes.close()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_source_that_fails_costs_only_what_comes_after(work, jobs):
    def source():
        yield from range(5)
        raise OSError("the disk is gone")

    outcomes = run(work.square, source(), jobs=jobs)
    assert [next(outcomes).value for _ in range(5)] == [0, 1, 4, 9, 16]
    with pytest.raises(OSError, match="the disk is gone"):
        next(outcomes)


def test_closing_cancels_what_waits(work, tmp_path):
    outcomes = run(partial(work.noted, tmp_path), itertools.count(), jobs=1 + 1, ahead=1)
    assert next(outcomes).value == 0
    outcomes.close()
    assert len(list(tmp_path.iterdir())) == 1
    # ten are handed in, two are being done and hold the rest up
    (tmp_path / "slow").mkdir()
    outcomes = run(partial(work.slow, tmp_path / "slow"), _then_stop(range(8), tmp_path / "slow"), jobs=2, ahead=10)
    with pytest.raises(_Enough):
        next(outcomes)
    assert list((tmp_path / "slow").iterdir()) == []


class _Enough(BaseException):
    """Like Ctrl-C."""


def _then_stop(items, folder):
    """Yield the items; once two are being done, do as Ctrl-C does."""
    yield from items
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.01)
    raise _Enough


def test_a_forgotten_iterator_leaves_no_process(work):
    outcomes = run(work.square, range(100), jobs=2)
    next(outcomes)
    assert multiprocessing.active_children()
    del outcomes
    assert multiprocessing.active_children() == []


# lost workers


@POSIX
def test_the_item_of_a_worker_that_was_killed_is_done_by_another(work, tmp_path):
    items = list(range(20))
    outcomes = list(run(partial(work.once_deadly, tmp_path, 7), items, jobs=2))
    assert [row(outcome) for outcome in outcomes] == [row(outcome) for outcome in run(work.work, items)]
    assert {outcome.index: outcome.attempts for outcome in outcomes if outcome.attempts != 1} == {7: 2}


@POSIX
@pytest.mark.parametrize("retries", [0, 2])
def test_an_item_that_kills_every_worker_is_a_row(work, retries):
    outcomes = list(run(partial(work.deadly, 4), range(12), jobs=2, retries=retries))
    assert [outcome.value for outcome in outcomes] == [None if x == 4 else x for x in range(12)]
    lost = outcomes[4]
    assert type(lost.error) is LostWorkerError
    assert f"at each of {retries + 1} attempts" in str(lost.error)
    assert "SIGKILL" in str(lost.error)
    assert lost.attempts == retries + 1
    assert lost.seconds > 0
    assert all(outcome.error is None and outcome.attempts == 1 for outcome in outcomes if outcome is not lost)


@POSIX
def test_a_worker_that_dies_while_it_has_nothing_to_do_costs_no_attempt(work):
    outcomes = run(work.surroundings, itertools.repeat(()), jobs=2, ahead=1, retries=0)
    for _ in range(3):
        first = next(outcomes)
        assert (first.error, first.attempts) == (None, 1)
        os.kill(first.value["pid"], signal.SIGKILL)
        assert gone(first.value["pid"])
    outcomes.close()


# the workers


def test_workers_are_spawned_serial_and_not_this_process(work):
    before = dict(os.environ)
    work.SEEN_BY_A_FORK = True
    outcomes = list(run(work.surroundings, [batch._SERIAL] * 6, jobs=2))
    for outcome in outcomes:
        assert outcome.error is None
        assert {outcome.value[name] for name in batch._SERIAL} == {"1"}
        assert outcome.value["numba"] == 1
        assert outcome.value["forked"] is False
        assert outcome.value["pid"] != os.getpid()
    assert dict(os.environ) == before


@POSIX
def test_workers_ignore_the_interrupt(work):
    assert [outcome.value for outcome in run(work.interrupt_oneself, range(4), jobs=2)] == [0, 1, 2, 3]


def test_workers_end_in_order_and_look_for_no_garbage(work, tmp_path):
    assert [outcome.value for outcome in run(partial(work.leave_word, tmp_path), range(4), jobs=2)] == [0, 1, 2, 3]
    left = [int(path.read_text()) for path in sorted(tmp_path.iterdir())]
    assert len(left) == 4
    assert min(left) > 1000


def test_a_worker_starts_no_workers(work):
    (outcome,) = run(work.start_others, [0], jobs=2)
    assert isinstance(outcome.error, InputError)
    assert "jobs is 2 inside a worker" in str(outcome.error)


def test_no_more_workers_than_items(work):
    assert len({outcome.value["pid"] for outcome in run(work.surroundings, [()], jobs=50)}) == 1


def script(folder, body):
    """Write a script that knows the functions and the package."""
    path = folder / "script.py"
    head = f"import sys\nsys.path[:0] = {[str(ROOT), os.path.dirname(sys.modules['batch_work'].__file__)]!r}\n"
    path.write_text(head + textwrap.dedent(body), encoding="utf-8")
    return path


@POSIX
@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "kill"])
def test_ctrl_c_ends_the_run_and_its_workers(work, tmp_path, whole_group):
    """A terminal sends the interrupt to everybody; ``kill -INT`` only to the parent."""
    files = tmp_path / "files"
    files.mkdir()
    program = f"""
        import functools, batch_work
        from alignment.batch import run
        if __name__ == "__main__":
            for outcome in run(functools.partial(batch_work.slow, {str(files)!r}), range(10), jobs=2):
                print(outcome)
    """
    with subprocess.Popen(
        [sys.executable, script(tmp_path, program)], start_new_session=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            while len(list(files.iterdir())) < 2:
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            workers = [int(path.stem.split("-")[1]) for path in files.iterdir()]
            (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert out == ""
    assert err.count("Traceback") == err.count("KeyboardInterrupt") == 1
    assert all(gone(worker) for worker in workers)
    assert list(files.iterdir()) == []


@POSIX
def test_workers_do_not_outlive_a_parent_that_was_killed(work, tmp_path):
    program = """
        import itertools, os, signal, batch_work
        from alignment.batch import run
        if __name__ == "__main__":
            outcomes = run(batch_work.surroundings, itertools.repeat(()), jobs=2)
            pids = {next(outcomes).value["pid"] for _ in range(20)}
            print(*pids, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, script(tmp_path, program)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    workers = [int(pid) for pid in done.stdout.split()]
    assert workers
    assert all(gone(worker) for worker in workers)


def test_a_script_without_its_guard_is_told_so(work, tmp_path):
    program = """
        import batch_work
        from alignment.batch import run
        print([outcome.value for outcome in run(batch_work.square, range(4), jobs=2)])
    """
    done = subprocess.run(
        [sys.executable, script(tmp_path, program)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "InputError: the worker processes die while they start (exit code 1)" in done.stderr
    assert "__main__" in done.stderr.splitlines()[-1]


def test_a_function_of_the_script_itself_is_found(work, tmp_path):
    program = """
        from alignment.batch import run
        def cube(x):
            return x**3
        if __name__ == "__main__":
            print([outcome.value for outcome in run(cube, range(4), jobs=2)])
    """
    path = script(tmp_path, program)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[0, 1, 8, 27]\n"
    # a program that stands in no file cannot be imported by a worker
    for options, sentence in (
        (["-c", path.read_text()], "InputError: the worker processes cannot load the function (AttributeError"),
        (["-"], "InputError: the worker processes die while they start"),
    ):
        command = [sys.executable, *options]
        done = subprocess.run(command, input=path.read_text(), capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1
        assert sentence in done.stderr.splitlines()[-1]


# what cannot be used


def test_what_cannot_be_pickled_is_said(work):
    with pytest.raises(
        InputError, match=r"the function <function .* cannot be sent to a worker \(.*lambda.* at the top of a module"
    ):
        run(lambda x: x, [1], jobs=2)
    first, second, third = run(work.square, [2, (x for x in "abc"), 3], jobs=2)
    assert (first.value, third.value) == (4, 9)
    assert isinstance(second.error, InputError)
    assert "the item <generator" in str(second.error)
    assert second.attempts == 0
    first, second, third = run(work.unpicklable, range(3), jobs=2)
    assert (first.value, third.value) == (0, 2)
    assert isinstance(second.error, InputError)
    assert "the result, a lock, cannot be sent back" in str(second.error)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"jobs": 0}, "jobs is 0; give a whole number of at least 1"),
        ({"jobs": 1.5}, "jobs is 1.5"),
        ({"retries": -1}, "retries is -1"),
        ({"ahead": 0}, "ahead is 0"),
        ({"items": 5}, "items is 5; give a list"),
        ({"function": "colorize"}, "function is 'colorize'; give something that can be called"),
        ({"scheduler": 8786}, "scheduler is 8786; give an address"),
        ({"scheduler": "10.0.0.1"}, "scheduler is '10.0.0.1'; give an address"),
        ({"scheduler": "tcp://127.0.0.1:1", "jobs": 2}, "jobs is 2 beside a scheduler"),
    ],
)
def test_options_are_checked_at_the_call(options, sentence):
    if "address" in sentence:
        pytest.importorskip("distributed", reason="dask.distributed is not installed")
    call = {"function": abs, "items": [1], **options}
    with pytest.raises(InputError) as caught:
        run(call.pop("function"), call.pop("items"), **call)
    assert sentence in str(caught.value)


def test_a_missing_dask_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install bilinear-alignment\[distributed\]"):
        run(abs, [1], scheduler="tcp://127.0.0.1:8786")


def test_outcomes_are_plain():
    outcome = Outcome(0, "plate.tif", 1, None, 1, 0.5)
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    with pytest.raises(AttributeError):
        outcome.value = 2


# dask: a real scheduler and its workers, in processes of their own


class Cluster:
    """A scheduler and workers on the loopback interface."""

    def __init__(self, folder, path):
        self.processes, self._file, self._folder = [], folder / "scheduler.json", folder
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONWARNINGS": "ignore"}
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")

    def add_worker(self):
        """Start a worker without a nanny: when it is killed nobody replaces it."""
        self._start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")

    def _start(self, what, *options):
        command = [sys.executable, "-m", "dask", what, "--scheduler-file", str(self._file), *options]
        with open(self._folder / f"{len(self.processes)}.log", "w", encoding="utf-8") as log:
            self.processes.append(
                subprocess.Popen(command, cwd=self._folder, env=self._environment, stdout=log, stderr=log)
            )

    def client(self):
        from distributed import Client

        for _ in range(600):
            if self._file.is_file() and self._file.stat().st_size:
                break
            assert self.processes[0].poll() is None, self.logs()
            time.sleep(0.1)
        return Client(scheduler_file=str(self._file), set_as_default=False, timeout=60)

    def logs(self):
        return "\n".join(path.read_text(encoding="utf-8") for path in sorted(self._folder.glob("*.log")))

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(work, tmp_path):
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    made = Cluster(tmp_path, [os.path.dirname(work.__file__), str(ROOT)])
    try:
        yield made
    finally:
        made.close()


@POSIX
@pytest.mark.slow
def test_dask_loses_a_worker_and_no_result(work, cluster, tmp_path):
    items = list(range(200))
    cluster.add_worker()
    cluster.add_worker()
    with cluster.client() as client:
        client.wait_for_workers(2, timeout=60)
        pids = {outcome.value["pid"] for outcome in run(work.surroundings, [()] * 20, scheduler=client)}
        assert len(pids) == 2
        outcomes = list(run(partial(work.once_deadly, tmp_path, 100), items, scheduler=client))
        assert client.status == "running"
        assert len(client.nthreads()) == 1
    assert (tmp_path / "tried-100").exists()
    assert [row(outcome) for outcome in outcomes] == [row(outcome) for outcome in run(work.work, items)]
    assert all(outcome.error is None for outcome in outcomes)


@POSIX
@pytest.mark.slow
def test_dask_by_address_with_failures_and_an_item_that_kills(work, cluster):
    for _ in range(5):  # each worker that the item kills is gone for good
        cluster.add_worker()
    with cluster.client() as client:
        client.wait_for_workers(5, timeout=60)
        address = client.scheduler.address
    outcomes = list(run(work.parity, range(30), scheduler=address))
    assert [row(outcome) for outcome in outcomes] == [row(outcome) for outcome in run(work.parity, range(30))]
    for function, items in ((work.fail, ["stubborn", "particular", "exit"]), (work.unpicklable, [0, 1, 2])):
        here = [row(outcome) for outcome in run(function, items, jobs=2)]
        assert [row(outcome) for outcome in run(function, items, scheduler=address)] == here
    # what a script defines, and what is too large to travel with every item
    assert [outcome.value for outcome in run(lambda x: x + 1, range(3), scheduler=address)] == [1, 2, 3]
    large = partial(work.sized, bytes(3_000_000))
    assert [outcome.value for outcome in run(large, range(40), scheduler=address)] == [3_000_000 + x for x in range(40)]
    # an endless source, read no further than allowed
    taken = []
    endless = run(work.square, (taken.append(x) or x for x in itertools.count()), scheduler=address, ahead=5)
    assert [next(endless).value for _ in range(20)] == [x * x for x in range(20)]
    endless.close()
    assert len(taken) <= 24
    # the killer comes last, because four workers die of it
    outcomes = list(run(partial(work.deadly, 3), range(6), scheduler=address))
    assert [outcome.value for outcome in outcomes] == [0, 1, 2, None, 4, 5]
    assert type(outcomes[3].error) is LostWorkerError
    assert outcomes[3].attempts == 4


@pytest.mark.slow
def test_dask_scheduler_that_goes_away_ends_the_run_with_a_sentence(work, cluster):
    cluster.add_worker()
    with cluster.client() as client:
        client.wait_for_workers(1, timeout=60)
        address = client.scheduler.address
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        outcomes = run(work.square, itertools.count(), scheduler=address)
        assert next(outcomes).value == 0
        for process in cluster.processes:
            process.kill()
            process.wait()
        late = []
        with pytest.raises(InputError, match="the dask scheduler is gone"):
            late.extend(outcomes)
        # what was there before is a result; nothing is blamed on a worker
        assert [outcome.error for outcome in late if outcome.error] == []


def test_nobody_at_the_address(monkeypatch):
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    monkeypatch.setattr(batch, "_ANSWER", 0.5)
    outcomes = run(abs, [1], scheduler="tcp://127.0.0.1:9")
    with pytest.raises(InputError, match=r"no dask scheduler answers at tcp://127.0.0.1:9"):
        next(outcomes)


def test_numbers_survive_to_the_last_bit(work):
    outcomes = list(run(work.square, [np.float32(1) / 3, np.arange(5.0)[::2], 10**40], jobs=2))
    assert outcomes[0].value == (np.float32(1) / 3) ** 2
    assert outcomes[0].value.dtype == np.float32
    np.testing.assert_array_equal(outcomes[1].value, [0, 4, 16])
    assert outcomes[2].value == 10**80


# the plan for large amounts of work


@pytest.fixture(scope="module")
def plan():
    path = ROOT / "benchmarks" / "batch.py"
    if not path.is_file():
        pytest.skip("the benchmarks come with the checkout, not with an installed package")
    import importlib.util

    spec = importlib.util.spec_from_file_location("batch_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
            patch.setenv(name, os.environ.get(name, "1"))  # which it sets
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


def test_the_simulation_does_what_can_be_reckoned(plan):
    seconds = plan.Load(0, 2.0, 0)
    assert plan.simulate(seconds, 10, plan.Site(1)).seconds == pytest.approx(20)
    assert plan.simulate(seconds, 10, plan.Site(4)).seconds == pytest.approx(6)
    assert plan.simulate(seconds, 10, plan.Site(4, starting=5)).seconds == pytest.approx(11)
    assert plan.simulate(seconds, 1000, plan.Site(900, dispatch=0.1)).seconds == pytest.approx(102)
    alone = plan.simulate(plan.Load(30, 2.0, 10), 7, plan.Site(1, storage=10, link=5))
    assert alone.seconds == pytest.approx(7 * (30 / 5 + 2 + 10 / 5))
    assert alone.busy == pytest.approx(2 / 10)
    assert alone.moved == pytest.approx(40 / (10 * 10))
    # two read at once: each gets half of the storage, which takes both as long as its own line would
    assert plan.simulate(plan.Load(30, 2.0, 10), 2, plan.Site(2, storage=10, link=5)).seconds == pytest.approx(10)
    assert plan.simulate(plan.Load(30, 2.0, 10), 3, plan.Site(3, storage=10, link=5)).seconds == pytest.approx(14)


def test_the_simulation_finds_where_storage_is_the_limit(plan):
    load = plan.Load(40, 2.0, 10, spread=0.3)
    most = plan.knee(load, 100.0)
    assert most == pytest.approx(5)
    few, many = (plan.simulate(load, 2000, plan.Site(n, 100.0)) for n in (1, 40))
    assert few.seconds == pytest.approx(2000 * 2.5, rel=0.03)
    assert many.seconds == pytest.approx(2000 * 50 / 100, rel=0.03)
    assert many.moved > 0.97 > 0.3 > many.busy


def test_simulated_losses_cost_what_was_begun(plan):
    load = plan.Load(0, 60.0, 0)
    for losses, share in ((0.0, 0.0), (6.0, 1 - np.exp(-0.1))):
        done = plan.simulate(load, 3000, plan.Site(10, losses=losses, starting=5.0))
        assert done.lost / (3000 + done.lost) == pytest.approx(share, abs=0.02)
    assert done.seconds > 3000 * 60 / 10


def test_a_table_replaces_the_one_of_its_name(plan):
    page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n<!-- begin y -->\nkept\n<!-- end y -->\n"
    assert plan.update(page, "x", "new \\1") == page.replace("old", "new \\1")
    with pytest.raises(SystemExit, match="no place for 'z'"):
        plan.update(page, "z", "new")


def test_the_page_has_a_place_for_each_table(plan):
    page = (ROOT / "benchmarks" / "SCALE.md").read_text(encoding="utf-8")
    source = Path(plan.__file__).read_text(encoding="utf-8")
    named = {*re.findall(r'yield "([a-z-]+)"', source), *re.findall(r'\("(plates-[a-z]+)"', source)}
    assert named >= {"ways", "cores", "memory", "overhead", "plates-png", "plates-tiff", "frames"}
    for name in named:
        assert plan.update(page, name, "x") != page


def test_memory_is_kept_only_by_what_is_started_meanwhile(plan, monkeypatch):
    first, second = plan.KEEP
    monkeypatch.setenv(first, "5")
    monkeypatch.delenv(second, raising=False)
    with plan.kept_memory():
        assert {name: os.environ[name] for name in plan.KEEP} == plan.KEEP
    assert (os.environ[first], second in os.environ) == ("5", False)


def test_what_others_use_is_what_is_not_ours(plan, monkeypatch):
    """The machine has spent 9 seconds, this process and its children 6: 3 in 2 seconds are those of others."""
    clock = iter([0.0, 0.5, 2.0])
    monkeypatch.setattr(plan, "busy_seconds", iter([100.0, 109.0]).__next__)
    monkeypatch.setattr(plan, "own_seconds", iter([50.0, 56.0]).__next__)
    monkeypatch.setattr(plan, "run", lambda function, items: iter([Outcome(0, 1, 1, None, 1, 0.0)]))
    monkeypatch.setattr(plan.time, "perf_counter", clock.__next__)
    assert plan.timed(abs, [1]).others == pytest.approx(1.5)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells in /proc what a machine has spent")
def test_a_busy_process_keeps_the_machine_busy(plan):
    busy, own = plan.busy_seconds(), plan.own_seconds()
    while plan.own_seconds() - own < 0.3:
        pass
    assert plan.busy_seconds() - busy > 0.25


def test_plain_work_is_done_and_counted(plan):
    assert all(plan.count_for(kind, 0.01) >= 1 for kind in plan.PLAIN)
