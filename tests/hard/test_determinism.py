"""Same input, same bits: over runs, threads, processes and machines' settings; and nothing global is left behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import alignment as al
from alignment import cli

from .outcomes import COMPILED, digest, scene, surroundings

ROOT = str(Path(al.__file__).parents[1])
compiled = pytest.mark.skipif(not COMPILED, reason="in pure Python this takes minutes")

# what a process of its own prints about a registration, to the last bit
REPORT = f"""
import sys; sys.path[:0] = [{ROOT!r}]
from tests.hard.test_determinism import told
print(told())
"""


def pair(number=0):
    """Return the images of one pair of many, and its displacement."""
    draw = np.random.default_rng(number)
    dx, dy = draw.uniform(-4, 4, 2)
    noise = 0.01 * draw.standard_normal((2, 96, 104))
    return scene(96, 104) + noise[0], scene(96, 104, dx, dy) + noise[1], (dx, dy)


def told(number=0):
    """Return everything that a registration says about a pair, to the last bit."""
    reference, moving, _ = pair(number)
    found = al.register(reference, moving)
    return json.dumps([found.to_dict(), digest(found.trace.view(np.uint8)), digest(found.apply(moving))])


def run(env=None, code=REPORT, timeout=300):
    """Run Python in a process of its own, with more of an environment."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env={**os.environ, **(env or {})},
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@compiled
def test_same_bits_over_runs_and_processes():
    here = told()
    assert told() == here
    assert run() == here


@compiled
@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"])
@pytest.mark.parametrize("count", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_same_bits_over_thread_counts_of_the_libraries(variable, count):
    assert run({variable: count}) == told()


@compiled
@pytest.mark.parametrize("threads", [2, 3, 8, 64])
def test_same_bits_over_our_threads(threads):
    for number in range(3):
        reference, moving, _ = pair(number)
        alone, together = al.register(reference, moving), al.register(reference, moving, threads=threads)
        assert alone.to_dict() == together.to_dict()
        np.testing.assert_array_equal(alone.trace, together.trace)


@compiled
@pytest.mark.parametrize("calls", [64, pytest.param(1000, marks=pytest.mark.slow)])
def test_eight_threads_on_different_pairs_at_once(calls):
    alone = [told(number) for number in range(16)]
    around = surroundings()
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda n: told(n % 16), range(calls)))
    assert together == [alone[n % 16] for n in range(calls)]
    assert surroundings() == around


def _told_in_a_child(queue, number):
    queue.put(told(number))


@compiled
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_say_the_same(method):
    if method == "fork" and sys.version_info >= (3, 12):
        pytest.skip("Python warns of forking where threads have run")
    here = told(3)
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    child = context.Process(target=_told_in_a_child, args=(queue, 3))
    child.start()
    try:
        assert queue.get() == here
    finally:
        child.join(60)
    assert child.exitcode == 0


def test_reading_in_many_threads_leaves_the_filters_as_they_were(tmp_path):
    path = tmp_path / "image.png"
    al.write_image(path, scene())
    around = surroundings()
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(al.read_image, [path] * 200))
    assert surroundings() == around
    assert len({digest(image) for image in images}) == 1


def test_a_command_leaves_the_process_as_it_was(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, dx in (("a.png", 0.0), ("b.png", 1.5)):
        al.write_image(name, scene(dx=dx))
    cli.main(["register", "a.png", "b.png", "-q"])  # loads what it needs
    around, threads, environment = surroundings(), al.__version__, dict(os.environ)
    assert cli.main(["register", "a.png", "b.png", "-o", "c.png"]) in (0, 3)
    assert surroundings() == around
    assert dict(os.environ) == environment
    assert threads == al.__version__


@compiled
def test_a_callback_that_raises_ends_the_registration_and_nothing_else():
    reference, moving, _ = pair()
    before = told()

    class StopError(Exception):
        pass

    def stop(*args):
        raise StopError

    for method in ("auto", "newton", "adam", "gradient-descent", "exhaustive"):
        with pytest.raises(StopError):
            al.register(reference, moving, method=method, callback=stop)
    assert told() == before


def test_a_billion_steps_can_be_interrupted():
    class Flat:
        def value_and_gradient(self, dx, dy):
            return 1.0, np.zeros(2)

    seen = []

    def stop(step, *rest):
        seen.append(step)
        if step == 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        al.minimise(Flat(), al.Adam(0.01), steps=10**9, callback=stop)
    assert seen == list(range(201))


@compiled
@pytest.mark.parametrize("calls", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_memory_after_many_registrations_is_that_after_a_hundred(calls):
    if not Path("/proc/self/statm").exists():
        pytest.skip("the memory of a process is read from /proc")

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    pairs = [tuple(image[:48, :48].copy() for image in pair(n)[:2]) for n in range(4)]
    for n in range(100):
        al.register(*pairs[n % 4])
    before = resident()
    for n in range(calls):
        al.register(*pairs[n % 4])
    assert resident() - before < 8e6


# other machines


MACHINES = {
    "no vector units": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    "far east of Greenwich": {"TZ": "Pacific/Kiritimati", "LC_ALL": "C"},
    "a locale that is not there": {"LC_ALL": "xx_XX.UTF-8", "LANG": "xx_XX"},
    "Latin-1": {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0", "LC_ALL": "C"},
    "one column": {"COLUMNS": "1", "LINES": "1", "TERM": "dumb"},
    "a million columns": {"COLUMNS": "1000000"},
    "columns that are no number": {"COLUMNS": "wide"},
    "no home": {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent", "MPLCONFIGDIR": ""},
    "optimised": {"PYTHONOPTIMIZE": "2"},
    "hash seed": {"PYTHONHASHSEED": "7"},
}
COMMANDS = f"""
import sys; sys.path[:0] = [{ROOT!r}]
import os, tempfile
from alignment.cli import main
from alignment import write_image
from tests.hard.outcomes import scene
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    write_image("a.png", scene(96, 104)); write_image("b.png", scene(96, 104, 1.5, -2.25))
    for command in (["register", "--help"], ["info"], ["register", "a.png", "b.png"]):
        code = main(command)
        if code: sys.exit(f"{{command}} ended with {{code}}")
    os.chdir("/")
"""


@compiled
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in ("no vector units", "one column", "no home") else pytest.mark.slow)
    for name in MACHINES
])  # fmt: skip
def test_commands_run_on_other_machines(name):
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS], env={**os.environ, **MACHINES[name]},
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"Traceback" not in done.stderr
    said = done.stdout.decode("latin-1")
    dx = float(said.rsplit("dx ", 1)[1].split()[0])
    assert abs(dx - 1.5) < 0.02


@pytest.mark.slow
@compiled
def test_a_read_only_package_without_a_home_still_runs(tmp_path):
    import shutil

    shutil.copytree(
        Path(al.__file__).parent, tmp_path / "site" / "alignment", ignore=shutil.ignore_patterns("__pycache__")
    )
    for folder, _, files in os.walk(tmp_path / "site"):
        for one in files:
            os.chmod(os.path.join(folder, one), 0o444)
        os.chmod(folder, 0o555)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import alignment as al\n"
        "a, b = al.datasets.shifted_pair(1.5, -0.5, shape=(100, 100)); print(al.register(a, b).status)"
    )
    env = {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": ""}
    assert run(env, code).endswith("converged")
    for folder, _, _ in os.walk(tmp_path / "site"):
        os.chmod(folder, 0o755)


def test_nothing_reaches_for_the_network(tmp_path):
    code = f"""
import sys; sys.path[:0] = [{ROOT!r}]
import socket
def refuse(*args, **options): raise AssertionError("the network was asked for")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from alignment.cli import main
sys.exit(main(["info", "-q"]) or main(["gradcheck", "-q", "--loss", "mse"]))
"""
    run(code=code)


# Windows and macOS, as far as their rules can be asked from here


@pytest.mark.parametrize(("name", "kind"), [
    ("C:\\scans\\PLATE.TIF", "TIFF"), ("\\\\server\\share\\a.Png", "PNG"), ("a.b.jpeg", "JPEG"),
    ("e\u0301.tiff", "TIFF"),
])  # fmt: skip
def test_formats_by_suffix_do_not_depend_on_the_system(name, kind):
    from alignment.imagefiles import image_format

    assert image_format(name) == kind


def test_names_that_differ_in_case_alone_are_one_where_the_system_says_so(tmp_path, monkeypatch):
    import ntpath

    from alignment.commands.console import UsageError
    from alignment.commands.targets import plan_outputs

    names = [str(tmp_path / "a" / "Plate.png"), str(tmp_path / "b" / "PLATE.png")]
    assert len(plan_outputs(names, str(tmp_path / "out"), ending="_color")) == 2
    monkeypatch.setattr(os.path, "normcase", ntpath.normcase)
    with pytest.raises(UsageError, match="would both be written"):
        plan_outputs(names, str(tmp_path / "out"), ending="_color")


# what the package may not do


def test_no_pickle_eval_or_shell_in_the_package():
    import ast

    banned = {"eval", "exec", "compile", "__import__"}
    modules = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
    found = []
    for path in sorted(Path(al.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in banned:
                found.append(f"{path.name}:{node.lineno} {node.func.id}")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                whole = ast.unparse(node.func)
                if whole in ("os.system", "os.popen", "np.fromstring") or whole.startswith("subprocess."):
                    found.append(f"{path.name}:{node.lineno} {whole}")
            if isinstance(node, ast.keyword) and node.arg in ("shell", "allow_pickle"):
                found.append(f"{path.name}:{node.lineno} {node.arg}")
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            # tasks are sent to worker processes of the same user by pickle, never read from a file or from input
            if modules & {name.split(".")[0] for name in names} and path.name != "batch.py":
                found.append(f"{path.name}:{node.lineno} {names}")
    assert not found, found
