"""Many independent items, one after another, in processes, or on a dask scheduler: scheduling only, no mathematics.

`run` applies a function to items and yields one `Outcome` for each, in the order of the items, whoever computed it and
however it ended. An item that fails is a row with an error, never the end of the run.

Processes are *spawned*, not forked: a fork copies the locks of every other thread in whatever state they are, and this
module itself keeps one thread for each worker; a forked worker also inherits the pipes of its siblings, so that nobody
notices when the parent dies. The price is an interpreter's start for each worker, paid once.

Each worker has a pipe and a thread of the parent to itself. The pool of the standard library shares one queue among all
workers: when one of them is killed it cannot tell which item was at fault, and gives up all of them.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import gc
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn, Protocol

from . import _checks
from ._checks import InputError

__all__ = ["LostWorkerError", "Outcome", "run"]

_LOG = logging.getLogger(__name__)

# a worker that computes side by side with others takes one core: none of these libraries may start threads in it
_SERIAL: Final = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_AHEAD: Final = (
    4  # items under way for each worker: one slow item keeps nobody waiting until the others have done three
)
_GRACE: Final = 2.0  # seconds in which a worker that is told to stop may remove its half-written files
_ANSWER: Final = 10.0  # seconds in which a scheduler must answer
_LARGE: Final = 1_000_000  # bytes of a function beyond which it does not travel with every item


class LostWorkerError(InputError):
    """An item whose worker died each time that it was tried."""


@dataclass(frozen=True)
class Outcome:
    """What became of one item.

    Attributes
    ----------
    index : int
        Its place among the items, from 0.
    item : object
        The item itself, as it was given.
    value : object
        What the function returned; None where it failed.
    error : Exception or None
        What the function raised, or why it could not be tried; None where it succeeded. Where a worker raised it, the
        traceback there is among its notes, so that `traceback.format_exception` shows it.
    attempts : int
        How often the item was given to a worker, as far as it is known here: a dask scheduler that moves an item from a
        lost worker to another does not tell. 0 where it could not be given to any.
    seconds : float
        Wall time of the function, at the last attempt; of all attempts if the worker died in each.
    """

    index: int
    item: Any
    value: Any
    error: Exception | None
    attempts: int
    seconds: float


def run(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    jobs: int = 1,
    scheduler: Any = None,
    retries: int = 2,
    ahead: int | None = None,
) -> Iterator[Outcome]:
    """Apply a function to every item, here, in processes, or on a dask scheduler.

    Parameters
    ----------
    function : callable
        Takes an item. In processes it must be importable or otherwise picklable (a function at the top of a module, a
        `functools.partial` of one); it is sent to each worker once.
    items : iterable
        May be endless; it is read as the outcomes are, never further ahead than `ahead`. In processes and on a
        scheduler each item must be picklable; a path travels faster than an image.
    jobs : int
        Processes to share the work; 1 works in this one.
    scheduler : str or dask.distributed.Client, optional
        The address of a dask scheduler, such as ``"tcp://10.0.0.1:8786"``, or a client of one: its workers do all the
        work, and `jobs` stays 1. This package must be installed where they run.
    retries : int
        How often an item is given to another worker after its own died: killed, or out of memory. What the function
        raises is never retried, for it would raise it again. A dask scheduler moves an item from a lost worker to
        another by itself, as often as its ``distributed.scheduler.allowed-failures`` says (3 unless configured); what
        it gives up is given to it again as long as the attempts so far are not more than `retries`.
    ahead : int, optional
        How many items may be under way, read but not yet yielded: this bounds the memory. 4 for each worker unless
        given.

    Yields
    ------
    Outcome
        One for each item, in the order of the items.

    Raises
    ------
    InputError
        At the call: if an option makes no sense or the function cannot be pickled. While iterating: if no worker can
        load the function or no scheduler answers. An item that cannot be pickled is an outcome with an `InputError`.

    Notes
    -----
    The values are the same whoever computes them: `jobs` and `scheduler` change when a thing is computed and nothing
    else. Numerical libraries are told to use one thread in a worker process; dask's own workers do the same by default.
    These also hand memory back to the system whenever an array is freed, which costs images a third more time;
    ``MALLOC_TRIM_THRESHOLD_=134217728 MALLOC_MMAP_THRESHOLD_=33554432`` in the environment of ``dask worker`` keeps it.

    Close the iterator (``contextlib.closing``) to stop early: what waits is cancelled, worker processes are stopped at
    once and may remove their half-written files. Ctrl-C does the same: workers ignore it, this process handles it. A
    dask worker cannot be stopped in the middle of an item; it finishes the item, and nobody looks at the result.

    A run that can be resumed lets the *function* write what belongs to an item, completely or not at all, because up to
    `ahead` items may be finished whose outcomes have not been read when the run is interrupted. Next time, leave the
    items out that have their files.

    As everywhere with spawned processes, a script needs ``if __name__ == "__main__":`` around what starts the run.

    Examples
    --------
    >>> from alignment.batch import run
    >>> for outcome in run(int, ["7", "x", "9"]):
    ...     print(outcome.index, outcome.value, outcome.error)
    0 7 None
    1 None invalid literal for int() with base 10: 'x'
    2 9 None
    """
    jobs = _checks.whole_number("jobs", jobs, at_least=1)
    retries = _checks.whole_number("retries", retries)
    ahead = None if ahead is None else _checks.whole_number("ahead", ahead, at_least=1)
    if not callable(function):
        raise InputError(f"function is {_shown(function)}; give something that can be called with an item")
    try:
        source = iter(items)
    except TypeError as error:
        raise InputError(f"items is {_shown(items)}; give a list or anything else to iterate over") from error
    if scheduler is not None:
        if jobs != 1:
            raise InputError(f"jobs is {jobs} beside a scheduler, whose workers do all the work; give one of the two")
        _check_scheduler(scheduler)
        return _in_order(lambda: _Dask(scheduler, function, retries), source, ahead)
    if jobs == 1:
        return _serially(function, source)
    if multiprocessing.current_process().daemon:
        raise InputError(f"jobs is {jobs} inside a worker process, which cannot start others; give 1 there")
    payload = _pickled(function, "the function", pickle.dumps)
    return _in_order(lambda: _Processes(payload, jobs, retries), source, ahead)


def _serially(function: Callable[[Any], Any], source: Iterator[Any]) -> Iterator[Outcome]:
    """Do one item after the other in this process."""
    for index, item in enumerate(source):
        value, error, seconds = _attempt(function, item)
        yield Outcome(index, item, value, error, 1, seconds)


# one attempt, wherever it happens


class _Result(NamedTuple):
    """What an attempt left: a value or an error."""

    value: Any
    error: Exception | None
    seconds: float


def _attempt(function: Callable[[Any], Any], item: Any) -> _Result:
    """Call the function; whatever it raises is a result."""
    begun = time.perf_counter()
    value, error = None, None
    try:
        value = function(item)
    except Exception as raised:
        error = raised
    except SystemExit as raised:  # one item has no say in the end of the run
        error = RuntimeError(f"the function ended its process, with exit code {raised.code!r}")
        error.__cause__ = raised
    seconds = time.perf_counter() - begun
    if error is not None:
        _forget_locals(error)
    return _Result(value, error, seconds)


def _forget_locals(error: BaseException) -> None:
    """Drop the variables of the frames that an error went through: images, that an outcome would keep alive."""
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        one = chain.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            chain += [one.__cause__, one.__context__]


def _answer(function: Callable[[Any], Any], payload: bytes) -> bytes:
    """Do a pickled item and return the pickled result; what cannot be pickled becomes an error that can."""
    try:
        item = pickle.loads(payload)
    except Exception as error:
        problem = InputError(f"the item cannot be unpickled by a worker ({_said(error)}); give another kind of item")
        return pickle.dumps(_Result(None, problem, 0.0))
    del payload  # an image need not be held twice
    value, raised, seconds = _attempt(function, item)
    if raised is None:
        try:
            return pickle.dumps(_Result(value, None, seconds), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            raised = InputError(
                f"the result, a {type(value).__name__}, cannot be sent back by a worker ({_said(error)}); return "
                "something that can be pickled"
            )
    return pickle.dumps(_Result(None, _portable(raised), seconds))


def _portable(error: Exception) -> Exception:
    """Return the error with its traceback as a note, or, if it does not survive pickling, one that says the same."""
    trace = "".join(traceback.format_exception(error)).rstrip()
    try:
        copy = pickle.loads(pickle.dumps(error))
        survived = type(copy) is type(error) and str(copy) == str(error)
    except Exception:
        survived = False
    portable = error if survived else RuntimeError(_said(error))
    with contextlib.suppress(Exception):  # a class may forbid new attributes
        portable.add_note(f"In the worker:\n{trace}")
        pickle.dumps(portable)
    return portable


def _restored(answer: bytes) -> _Result:
    """Unpickle a result."""
    try:
        result = pickle.loads(answer)
    except Exception as error:
        problem = InputError(f"the result of a worker cannot be unpickled here ({_said(error)}); return plainer values")
        return _Result(None, problem, 0.0)
    return _Result(*result)


def _pickled(value: Any, what: str, dumps: Callable[[Any], bytes]) -> bytes:
    """Pickle something that has to travel, or say that it cannot."""
    try:
        return dumps(value)
    except Exception as error:
        advice = "define it at the top of a module" if callable(value) else "give plain values, such as paths"
        raise InputError(f"{what} {_shown(value)} cannot be sent to a worker ({_said(error)}); {advice}") from error


def _said(error: BaseException) -> str:
    """Return the class and the message of an error, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _shown(value: Any) -> str:
    """Show a value inside a sentence, cut short where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


# the order, and how much is under way


class _Pool(Protocol):
    """Whoever does the work."""

    def ahead(self) -> int:
        """Return how many items should be under way."""

    def submit(self, item: Any) -> Any:
        """Hand in an item; returns a ticket for its result."""

    def collect(self, ticket: Any) -> tuple[_Result, int]:
        """Wait for a result; returns it with the number of attempts."""

    def close(self) -> None:
        """Cancel what waits, stop what runs."""


def _in_order(open_pool: Callable[[], _Pool], source: Iterator[Any], ahead: int | None) -> Iterator[Outcome]:
    """Keep items under way and yield what became of them, first come first served."""
    waiting: collections.deque[tuple[Any, Any]] = collections.deque()
    index = 0
    ended: Exception | None = None
    with contextlib.closing(open_pool()) as pool:
        while True:
            while ended is None and len(waiting) < (ahead or pool.ahead()):
                try:
                    item = next(source)
                except Exception as error:  # the end, or a source that failed: what came before it counts
                    ended = error
                else:
                    waiting.append((item, _ticket(pool, item)))
            if not waiting:
                break
            item, ticket = waiting.popleft()
            unfit = isinstance(ticket, InputError)
            result, attempts = (_Result(None, ticket, 0.0), 0) if unfit else pool.collect(ticket)
            del ticket  # the result would live on in it while the caller holds the outcome
            yield Outcome(index, item, *result[:2], attempts, result.seconds)
            del item, result
            index += 1
    if ended is not None and not isinstance(ended, StopIteration):
        raise ended


def _ticket(pool: _Pool, item: Any) -> Any:
    """Hand in an item; one that cannot travel has its error for a ticket."""
    try:
        return pool.submit(item)
    except InputError as error:
        return error


# processes of this machine

_starting = threading.Lock()


class _LostError(Exception):
    """A worker died while it had an item, or before it was ready for any."""


class _Stop(BaseException):
    """Raised in a worker that is told to stop; no `Exception`, because the function shall not catch it."""


class _Worker:
    """A process and the pipe to it; used by one thread."""

    def __init__(self, function: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, function), daemon=True, name="alignment worker")
        with _starting, _serial_environment(), _without_interrupts():
            self._process.start()
        theirs.close()

    def ask(self, payload: bytes) -> bytes:
        """Have an item done."""
        try:
            self._pipe.send_bytes(payload)
            return self._pipe.recv_bytes()
        except (EOFError, OSError) as error:
            raise _LostError from error

    def wait_until_ready(self) -> None:
        """Wait for its greeting; raises InputError where it cannot load the function."""
        try:
            complaint = self._pipe.recv_bytes()
        except (EOFError, OSError) as error:
            raise _LostError from error
        if complaint:
            raise InputError(
                f"the worker processes cannot load the function ({complaint.decode()}); define it at the top of a "
                "module that they can import"
            )

    def alive(self) -> bool:
        """Return whether the process runs."""
        return self._process.is_alive()

    def stop(self) -> None:
        """Tell the process to stop."""
        self._process.terminate()

    def end(self, patience: float) -> str:
        """Wait for the end of the process, kill it when patience runs out, and say how it ended."""
        self._process.join(max(patience, 0.0))
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"

    def free(self) -> None:
        """Free what the process held; nobody may wait for it any more."""
        self._pipe.close()
        self._process.close()


class _Processes:
    """Worker processes, each driven by a thread that replaces it when it dies.

    A thread touches its process under the lock and only until `close` has begun; from then on `close` alone does.
    """

    def __init__(self, function: bytes, jobs: int, retries: int) -> None:
        self._function, self._jobs, self._retries = function, jobs, retries
        self._threads = concurrent.futures.ThreadPoolExecutor(jobs, "alignment batch")
        self._mine = threading.local()  # .worker: the worker of the thread that asks
        self._workers: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._proven = False  # whether any worker was ever ready

    def ahead(self) -> int:
        """Return how many items should be under way."""
        return _AHEAD * self._jobs

    def submit(self, item: Any) -> concurrent.futures.Future[tuple[_Result, int]]:
        """Hand in an item; as many workers are started as there are items to do at once."""
        return self._threads.submit(self._do, _pickled(item, "the item", _highest))

    def collect(self, ticket: concurrent.futures.Future[tuple[_Result, int]]) -> tuple[_Result, int]:
        """Wait for a result, in turns short enough for Ctrl-C to come through on every system."""
        while not ticket.done():
            concurrent.futures.wait([ticket], timeout=1.0)
        return ticket.result()

    def close(self) -> None:
        """Cancel what waits and stop the workers; their threads notice that they are gone."""
        with self._lock:
            self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        try:
            for worker in self._workers:
                worker.stop()
            deadline = time.monotonic() + _GRACE
            for worker in self._workers:
                worker.end(deadline - time.monotonic())
        finally:  # a second Ctrl-C ends the patience
            for worker in self._workers:
                worker.end(0.0)
            self._threads.shutdown(wait=True)
            for worker in self._workers:
                worker.free()

    def _do(self, payload: bytes) -> tuple[_Result, int]:
        """Have an item done by this thread's worker, or by its successors."""
        begun = time.perf_counter()
        attempt = 0
        while True:
            attempt += 1
            try:
                return _restored(self._worker().ask(payload)), attempt
            except _LostError:
                how = self._discard()
            _LOG.info("a worker process died (%s) at attempt %d of an item", how, attempt)
            if attempt > self._retries:
                break
        error = LostWorkerError(
            f"the worker process died at each of {attempt} attempts (at last: {how}); if the memory ran out, give "
            "fewer jobs or smaller images"
        )
        return _Result(None, error, time.perf_counter() - begun), attempt

    def _worker(self) -> _Worker:
        """Return this thread's worker, a new one where there is none or it died while it had nothing to do."""
        with self._open():
            worker: _Worker | None = getattr(self._mine, "worker", None)
            if worker is not None and worker.alive():
                return worker
        if worker is not None:
            self._discard()
        with self._open():
            worker = self._mine.worker = _Worker(self._function)
            self._workers.add(worker)
        try:
            worker.wait_until_ready()
        except _LostError as lost:
            if self._proven:
                raise
            raise InputError(
                f"the worker processes die while they start ({self._discard()}); run a module or a file that has "
                "if __name__ == '__main__': around what starts them"
            ) from lost
        self._proven = True
        return worker

    def _discard(self) -> str:
        """Forget this thread's worker, and say how it ended."""
        with self._open():
            worker: _Worker = self._mine.worker
            self._mine.worker = None
            self._workers.remove(worker)
            how = worker.end(_GRACE)
            worker.free()
            return how

    @contextlib.contextmanager
    def _open(self) -> Iterator[None]:
        """Hold the lock; the thread ends here if the pool is being closed."""
        with self._lock:
            if self._closed:
                raise concurrent.futures.CancelledError
            yield


def _highest(value: Any) -> bytes:
    """Pickle by the newest protocol, which copies arrays least."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


@contextlib.contextmanager
def _serial_environment() -> Iterator[None]:
    """Let a process that is started now see one thread for each numerical library.

    They read their number when they are loaded, which in a spawned process may be before any line of ours is run.
    """
    before = {name: os.environ.get(name) for name in _SERIAL}
    os.environ.update(dict.fromkeys(_SERIAL, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let a process that is started now never see Ctrl-C, not even before it can say that it ignores it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # would be started by the first process, and lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Any, function: bytes) -> None:
    """Work in a process of its own: items come through the pipe, results go back, the end of the parent is the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    with contextlib.suppress(_Stop, EOFError, OSError):
        try:
            call = pickle.loads(function)
        except Exception as error:
            pipe.send_bytes(_said(error).encode(errors="replace"))
            return
        pipe.send_bytes(b"")
        while True:
            pipe.send_bytes(_answer(call, pipe.recv_bytes()))
    # cycles go with the process: looking for them among a compiler's objects takes a third of a second
    gc.disable()
    gc.freeze()


def _stop(number: int, frame: Any) -> NoReturn:
    """Leave whatever is being done, through every `finally` on the way out."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Stop


# a dask scheduler


def _check_scheduler(scheduler: Any) -> None:
    """Refuse what is neither the address of a scheduler nor a client, and say what is not installed."""
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "scheduler was given, but dask.distributed is not installed; pip install bilinear-alignment[distributed]"
        ) from error
    if isinstance(scheduler, Client):
        if scheduler.asynchronous:
            raise InputError("scheduler is an asynchronous client; give one made without asynchronous=True")
    elif not isinstance(scheduler, str) or "://" not in scheduler:
        raise InputError(
            f"scheduler is {_shown(scheduler)}; give an address such as 'tcp://10.0.0.1:8786' or a "
            "dask.distributed.Client"
        )


class _Dask:
    """The workers of a dask scheduler."""

    def __init__(self, scheduler: Any, function: Callable[[Any], Any], retries: int) -> None:
        import cloudpickle

        # by value where the workers could not import it: what a script or a notebook defines
        payload = _pickled(function, "the function", cloudpickle.dumps)
        self._dumps: Callable[[Any], bytes] = cloudpickle.dumps
        self._retries = retries
        self._own = isinstance(scheduler, str)
        self._client = _connect(scheduler) if self._own else scheduler
        self._under_way: set[_Ticket] = set()
        self._threads, self._counted = 0, -float("inf")
        # a large function is the result of a task that the items depend on: it travels once to each worker, and is
        # made anew if the worker that holds it is lost
        self._function = payload if len(payload) < _LARGE else self._client.submit(bytes, payload, pure=False)

    def ahead(self) -> int:
        """Return how many items should be under way; workers may come and go."""
        if time.monotonic() - self._counted > _ANSWER:
            self._threads, self._counted = sum(self._client.nthreads().values()), time.monotonic()
            if not self._threads:
                _LOG.warning("the scheduler has no workers yet; waiting for the first")
        return _AHEAD * max(self._threads, 4)

    def submit(self, item: Any) -> _Ticket:
        """Hand in an item, pickled, so that dask does not look for tasks of its own inside it."""
        return self._send(_Ticket(_pickled(item, "the item", self._dumps)))

    def collect(self, ticket: _Ticket) -> tuple[_Result, int]:
        """Wait for a result; an item that dask gave up is handed in again."""
        from distributed import KilledWorker

        begun = time.perf_counter()
        while ticket.answer is None:
            try:
                self._fetch(ticket)
            except TimeoutError:
                self._check_connection()
                continue
            except KilledWorker as error:
                ticket.attempts += error.allowed_failures + 1
            except concurrent.futures.CancelledError:  # the scheduler, or all that it knew, is gone
                self._check_connection()
                ticket.attempts += 1
            except Exception as error:
                raise InputError(
                    f"the dask workers cannot do this ({_said(error)}); install the same bilinear-alignment on all"
                ) from error
            else:
                continue
            self._under_way.discard(ticket)
            if ticket.attempts > self._retries:
                return _Result(None, _lost_on_dask(ticket.attempts), time.perf_counter() - begun), ticket.attempts
            self._send(ticket)
        return _unwrapped(ticket.answer), ticket.attempts + 1

    def _fetch(self, ticket: _Ticket) -> None:
        """Wait for one item, and fetch with it whatever else is there: asking for each alone takes twice as long."""
        from distributed import wait

        with self._client.as_current():
            wait([ticket.future], timeout=1.0)  # type: ignore[no-untyped-call]
        ready = [other for other in self._under_way if other.future.status == "finished"]
        try:
            answers = self._client.gather([other.future for other in ready])
        except Exception:  # one of them went down with its worker meanwhile: ask for the one that matters
            ready, answers = [], []
        if ticket not in ready:
            ready, answers = [*ready, ticket], [*answers, ticket.future.result(timeout=1.0)]
        for other, answer in zip(ready, answers, strict=True):
            other.answer, other.future = answer, None  # dask may forget it
            self._under_way.discard(other)

    def close(self) -> None:
        """Cancel what waits; a client that was given stays open."""
        with contextlib.suppress(Exception):  # a lost scheduler has nothing left to cancel
            self._client.cancel([ticket.future for ticket in self._under_way], force=True)
        self._under_way.clear()
        self._function = b""
        if self._own:
            self._client.close(timeout=_GRACE)

    def _send(self, ticket: _Ticket) -> _Ticket:
        ticket.future = self._client.submit(
            _answer_by_dask, self._function, ticket.payload, pure=False, key=f"alignment-{os.urandom(16).hex()}"
        )
        self._under_way.add(ticket)
        return ticket

    def _check_connection(self) -> None:
        """End the run if the scheduler is gone; a client that looks for it has not given up yet."""
        while self._client.status == "connecting":
            time.sleep(0.1)
        if self._client.status != "running":
            raise InputError("the dask scheduler is gone; start it again, and this run")


class _Ticket:
    """An item on its way through a scheduler."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.attempts = 0
        self.future: Any = None
        self.answer: bytes | str | None = None


def _connect(address: str) -> Any:
    """Return a client of the scheduler at an address."""
    from distributed import Client

    try:
        return Client(address, timeout=_ANSWER, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise InputError(
            f"no dask scheduler answers at {address} ({_said(error)}); start one with: dask scheduler"
        ) from error


def _answer_by_dask(function: bytes, payload: bytes) -> bytes | str:
    """Do an item on a dask worker; a string says why the function cannot be loaded."""
    try:
        call = _loaded(function)
    except Exception as error:
        return _said(error)
    return _answer(call, payload)


@lru_cache(maxsize=4)
def _loaded(function: bytes) -> Callable[[Any], Any]:
    """Unpickle a function once for all the items that it is sent with."""
    call: Callable[[Any], Any] = pickle.loads(function)
    return call


def _unwrapped(answer: bytes | str) -> _Result:
    """Return the result that a dask worker sent."""
    if isinstance(answer, str):
        raise InputError(
            f"the dask workers cannot load the function ({answer}); install on them whatever it comes from"
        )
    return _restored(answer)


def _lost_on_dask(attempts: int) -> LostWorkerError:
    """Say that every worker that had the item died."""
    return LostWorkerError(
        f"the dask worker died at each of {attempts} attempts; if its memory ran out, give it more, or fewer threads"
    )
