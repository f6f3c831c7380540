"""``alignment stack``: what it writes, what it refuses, and how it ends."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numba
import numpy as np
import pytest
import tifffile

from alignment import StackRegistration, cli, pieces, shift, stacks

SHAPE = (72, 80)
PATH = np.array([[0, 0], [1.5, -0.5], [2.25, 1], [2.5, 2], [3, 2.5]])


def frames(dtype=np.uint16, bad=None):
    """Return a small stack that drifts along PATH, a blank frame in it if asked for."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]].astype(float)
    centres = rng.random((60, 2)) * (110, 110) - 15
    stack = []
    for dx, dy in PATH:
        image = sum(np.exp(-((x - dx - cx) ** 2 + (y - dy - cy) ** 2) / 9) for cx, cy in centres)
        stack.append(image + 0.01 * rng.standard_normal(SHAPE))
    if bad is not None:
        stack[bad] = np.zeros(SHAPE)
    array = np.clip(np.array(stack) / 3, 0, 1)
    return array.astype(dtype) if np.dtype(dtype).kind == "f" else (array * np.iinfo(dtype).max).astype(dtype)


def paged(path, stack):
    """Write a TIFF of several pages."""
    with tifffile.TiffWriter(path) as writer:
        for page in stack:
            writer.write(page, photometric="minisblack", contiguous=False, metadata=None)
    return path


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """Work in an empty folder but for a stack."""
    monkeypatch.chdir(tmp_path)
    paged("movie.tif", frames())
    return tmp_path


def files():
    """Return the names of all files in the folder worked in but the stack."""
    return sorted(str(path) for path in Path().rglob("*") if path.is_file() and path.name != "movie.tif")


def only_error(capsys):
    """Return the only line on stderr, and check that nothing is on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


def test_everything_is_written(inside, capsys):
    code = cli.main(["stack", "movie.tif", "-o", "out.tif", "--table", "drift.csv", "--figure", "drift.png"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert files() == ["drift.csv", "drift.png", "out.tif"]
    assert "5 frames" in out
    rows = list(csv.DictReader(Path("drift.csv").read_text().splitlines()))
    found = np.array([[float(row["dx"]), float(row["dy"])] for row in rows])
    assert np.abs(found - PATH).max() < 0.05
    laid = tifffile.imread("out.tif")
    assert (laid.shape, laid.dtype) == ((5, *SHAPE), np.uint16)
    for page, frame, (dx, dy) in zip(laid, frames(), found, strict=True):
        np.testing.assert_array_equal(page, shift(frame, dx, dy))
    with tifffile.TiffFile("out.tif") as tiff:
        assert len(tiff.pages) == 5
        assert not tiff.is_bigtiff
    assert Path("drift.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_dtype_is_kept(inside, dtype):
    paged("other.tif", frames(dtype))
    assert cli.main(["stack", "other.tif", "-o", "out.tif", "-q"]) == 0
    assert tifffile.imread("out.tif").dtype == dtype


def test_a_large_result_is_a_bigtiff(inside, monkeypatch):
    from alignment.commands import stack

    monkeypatch.setattr(stack, "_BIG", 4 * frames()[0].nbytes)
    assert cli.main(["stack", "movie.tif", "-o", "out.tif", "-q"]) == 0
    with tifffile.TiffFile("out.tif") as tiff:
        assert tiff.is_bigtiff
        assert tiff.asarray().shape == (5, *SHAPE)


def test_json_and_nothing_else(inside, capsys):
    assert cli.main(["stack", "movie.tif", "--to", "previous", "--lags", "1", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    data = json.loads(out)
    assert (data["input"], data["success"], data["output"]) == (["movie.tif"], True, None)
    assert data["options"]["lags"] == [1, 2]
    again = StackRegistration.from_json(out)
    assert np.abs(np.stack([again.dx, again.dy], axis=1) - PATH).max() < 0.05


def test_a_bad_frame_is_told_by_the_code(inside, capsys):
    paged("bad.tif", frames(bad=2))
    assert cli.main(["stack", "bad.tif", "-o", "out.tif"]) == 3
    out, _ = capsys.readouterr()
    assert "frame 2: blank" in out
    assert len(tifffile.imread("out.tif")) == 5


def test_displacements_are_taken_to_another_channel(inside, capsys):
    paged("other.tif", frames(np.uint8)[:, ::-1].copy())
    assert cli.main(["stack", "movie.tif", "--table", "drift.json", "-q"]) == 0
    assert cli.main(["stack", "other.tif", "--shifts", "drift.json", "-o", "out.tif", "-q"]) == 0
    result = StackRegistration.from_json(Path("drift.json").read_text())
    np.testing.assert_array_equal(tifffile.imread("out.tif"), np.array(list(result.apply(frames(np.uint8)[:, ::-1]))))


@pytest.mark.parametrize("table", ["drift.json", "drift.csv"])
def test_apply_takes_what_stack_has_written(inside, capsys, table):
    paged("other.tif", frames(np.uint8)[:, ::-1].copy())
    assert cli.main(["stack", "movie.tif", "--table", table, "-q"]) == 0
    assert cli.main(["stack", "other.tif", "--shifts", table, "-o", "expected.tif", "-q"]) == 0
    assert cli.main(["apply", table, "other.tif", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["images"]
    assert [(one["output"], one["status"]) for one in told] == [("other_aligned.tif", "applied")]
    np.testing.assert_array_equal(tifffile.imread("other_aligned.tif"), tifffile.imread("expected.tif"))
    assert tifffile.imread("expected.tif").std() > 0
    assert cli.main(["apply", table, "other.tif"]) == 1
    assert "exists already" in only_error(capsys)


def test_what_apply_refuses_to_do_with_a_stack(inside, capsys):
    assert cli.main(["stack", "movie.tif", "--table", "drift.json", "-q"]) == 0
    paged("short.tif", frames()[:4])
    for arguments, code, says in (
        (["movie.tif", "--gamma", "2"], 2, "--gamma is for plates"),
        (["movie.tif", "--dtype", "8"], 2, "--dtype is for single images"),
        (["movie.tif", "short.tif"], 2, "give -o OUT.tif"),
        (["movie.tif", "-o", "out.png"], 2, "give a name that ends in .tif"),
        (["short.tif", "-o", "out.tif"], 1, "give as many"),
    ):
        assert cli.main(["apply", "drift.json", *arguments]) == code
        out, err = capsys.readouterr()
        assert (out, says in err) == ("", True), err
        assert files() == ["drift.json", "short.tif"]


@pytest.mark.parametrize("text", ["", "frame,dx,dy\n0,1,2\n", "a table\nof words\n"])
def test_what_is_no_table(inside, capsys, text):
    Path("bad.csv").write_text(text)
    assert cli.main(["apply", "bad.csv", "movie.tif"]) == 1
    assert "give the file that to_csv has written" in only_error(capsys)
    assert files() == ["bad.csv"]


@pytest.mark.slow
def test_processes_give_what_this_one_gives(inside, capsys):
    for jobs in ("1", "2"):
        assert cli.main(["stack", "movie.tif", "--to", "mean", "--table", f"{jobs}.csv", "--jobs", jobs, "-q"]) == 0
    assert Path("1.csv").read_bytes() == Path("2.csv").read_bytes()  # five frames are one piece


@pytest.mark.parametrize("options", [{"imagej": True}, {"ome": True}, {}])
def test_one_channel_is_estimated_and_all_are_written(inside, capsys, options):
    other = np.random.default_rng(5).integers(0, 65535, frames().shape).astype(np.uint16)
    both = np.stack([other, frames()], axis=1)
    tifffile.imwrite("both.tif", both, photometric="minisblack", metadata={"axes": "TCYX"}, **options)
    assert cli.main(["stack", "both.tif", "-o", "out.tif", "--channel", "1", "--table", "drift.json"]) == 0
    assert "5 frames" in capsys.readouterr().out
    result = StackRegistration.from_json(Path("drift.json").read_text())
    assert np.abs(np.stack([result.dx, result.dy], axis=1) - PATH).max() < 0.05
    expected = np.array([[shift(c, r.dx, r.dy) for c in frame] for frame, r in zip(both, result, strict=True)])
    with tifffile.TiffFile("out.tif") as tiff:
        assert (tiff.series[0].axes, tiff.series[0].shape) == ("TCYX", both.shape)
        np.testing.assert_array_equal(np.array([page.asarray() for page in tiff.pages]).reshape(both.shape), expected)
    assert cli.main(["apply", "drift.json", "both.tif", "-o", "again.tif", "-q"]) == 0
    assert Path("again.tif").read_bytes() == Path("out.tif").read_bytes()


def test_a_folder_is_read_as_people_count(inside, capsys):
    Path("t").mkdir()
    for number, frame in enumerate(frames()):
        tifffile.imwrite(f"t/{number + 7}.tif", frame)
    for name in ("t", "t/*.tif"):
        assert cli.main(["stack", name, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["frames"]
        np.testing.assert_allclose(found["dx"], PATH[:, 0], atol=0.05)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["stack"], "FRAMES"),
        (["stack", "movie.tif", "--to", "last"], "'last' is not first"),
        (["stack", "movie.tif", "-o", "out.png"], "out.png; give a name that ends in .tif"),
        (["stack", "movie.tif", "--table", "out.txt"], "out.txt; give a name that ends in .csv or .json"),
        (["stack", "movie.tif", "-o", "movie.tif", "--overwrite"], "over or into the input movie.tif"),
        (["stack", "t", "-o", "t/out.tif"], "over or into the input t"),
        (["stack", "movie.tif", "-o", "a.tif", "--figure", "a.tif"], "written twice"),
        (["stack", "movie.tif", "--lags", "2"], "--lags is for --to previous"),
        (["stack", "movie.tif", "--passes", "2"], "--passes is for --to mean"),
        (["stack", "movie.tif", "--to", "previous", "--jobs", "2"], "give --to first or mean"),
        (["stack", "movie.tif", "--to", "previous", "--scheduler", "tcp://x:1"], "give --to first or mean"),
        (["stack", "movie.tif", "--jobs", "2", "--scheduler", "tcp://x:1"], "not allowed with argument"),
        (["stack", "movie.tif", "--lags", "0", "--to", "previous"], "'0' is not a whole number"),
    ],
)
def test_wrong_usage(inside, capsys, arguments, says):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert files() == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.tif"], "does not exist"),
        (["none*.tif"], "holds no image"),
        (["movie.tif", "--to", "9"], "to is 9"),
        (["movie.tif", "--channel", "3"], "channel is 3"),
        (["movie.tif", "-o", "no/folder/out.tif"], "does not exist"),
        (["movie.tif", "--shifts", "movie.tif"], "JSON"),
        (["movie.tif", "--shifts", "missing.json"], "missing.json"),
        (["movie.tif", "--scheduler", "nonsense"], "scheduler is 'nonsense'"),
    ],
)
def test_bad_input_is_one_sentence(inside, capsys, arguments, says):
    assert cli.main(["stack", *arguments]) == 1
    assert says in only_error(capsys)
    assert files() == []


def test_nothing_is_replaced_unasked(inside, capsys):
    Path("out.tif").write_text("mine")
    assert cli.main(["stack", "movie.tif", "-o", "out.tif", "--table", "drift.csv"]) == 1
    assert "out.tif exists already" in only_error(capsys)
    assert Path("out.tif").read_text() == "mine"
    assert files() == ["out.tif"]
    assert cli.main(["stack", "movie.tif", "-o", "out.tif", "--overwrite", "-q"]) == 0
    assert len(tifffile.imread("out.tif")) == 5


def test_a_dry_run_writes_nothing(inside, capsys):
    assert cli.main(["stack", "movie.tif", "-o", "out.tif", "--table", "drift.csv", "--dry-run"]) == 0
    out, _ = capsys.readouterr()
    assert "5 frames" in out
    assert "out.tif: would be written" in out
    assert files() == []


def test_an_interruption_leaves_nothing_behind(inside, capsys, monkeypatch):
    def interrupted(self, frames=None, *, boundary="zero"):
        yield np.zeros(SHAPE, np.uint16)
        raise KeyboardInterrupt

    monkeypatch.setattr(stacks.StackRegistration, "apply", interrupted)
    assert cli.main(["stack", "movie.tif", "-o", "out.tif", "--table", "drift.csv"]) == 130
    assert files() == []


# what an interrupted run leaves, and what the next one makes of it


@pytest.fixture
def spans(inside, monkeypatch):
    """Cut stacks into pieces of two frames; return the list of those that are registered."""
    if numba.config.DISABLE_JIT:
        pytest.skip("a stack is registered several times, which takes minutes where nothing is compiled")
    monkeypatch.setattr(pieces, "LENGTH", 2)
    done = []
    register = pieces.Work.__call__

    def noted(self, span):
        done.append(span)
        return register(self, span)

    monkeypatch.setattr(pieces.Work, "__call__", noted)
    return done


TABLE = ["stack", "movie.tif", "--to", "mean", "--table", "drift.json", "-q"]


def interrupt(monkeypatch, at, arguments=TABLE, error=KeyboardInterrupt):
    """Run until a piece begins, and no further."""
    register = pieces.Work.__call__

    def stopped(self, span):
        if span[0] == at:
            raise error
        return register(self, span)

    with monkeypatch.context() as patch:
        patch.setattr(pieces.Work, "__call__", stopped)
        return cli.main(arguments)


def test_an_interrupted_run_goes_on_where_it_was(inside, spans, capsys, monkeypatch):
    paged("movie.tif", frames(bad=1))
    assert cli.main(TABLE) == 3
    expected = Path("drift.json").read_bytes()
    assert spans == [(0, 2), (2, 4), (4, 5)]
    Path("drift.json").unlink()
    spans.clear()
    assert interrupt(monkeypatch, 4) == 130
    assert "drift.json.partial holds what was found of 4 frames; the same command goes on" in capsys.readouterr().err
    assert (files(), spans) == (["drift.json.partial"], [(0, 2), (2, 4)])
    spans.clear()
    assert cli.main(TABLE) == 3
    assert spans == [(4, 5)]
    assert files() == ["drift.json"]
    assert Path("drift.json").read_bytes() == expected


def test_a_piece_that_was_half_kept_is_done_again(inside, spans, monkeypatch):
    assert interrupt(monkeypatch, 4) == 130
    partial = Path("drift.json.partial")
    partial.write_bytes(partial.read_bytes()[:-40])
    spans.clear()
    assert interrupt(monkeypatch, 4) == 130
    assert spans == [(2, 4)]
    spans.clear()
    assert cli.main(TABLE) == 0
    assert (files(), spans) == (["drift.json"], [(4, 5)])


@pytest.mark.parametrize("change", ["frames", "option", "piece", "columns"])
def test_what_was_kept_of_something_else_is_not_used(inside, spans, monkeypatch, change):
    assert interrupt(monkeypatch, 4) == 130
    spans.clear()
    partial, arguments = Path("drift.json.partial"), list(TABLE)
    if change == "frames":
        paged("movie.tif", frames()[::-1])
    elif change == "option":
        arguments += ["--passes", "1"]
    elif change == "piece":
        partial.write_text(partial.read_text().replace('"span": [0, 2]', '"span": [0, 3]'))
    else:
        partial.write_text(partial.read_text().replace('"ncc": [', '"ncc": [0.5, '))
    assert cli.main(arguments) == 0
    assert (files(), spans) == (["drift.json"], [(0, 2), (2, 4), (4, 5)])
    found = Path("drift.json").read_bytes()
    assert cli.main([*arguments, "--overwrite"]) == 0
    assert Path("drift.json").read_bytes() == found


def test_a_file_of_that_name_is_left_alone(inside, spans, capsys):
    Path("drift.json.partial").write_text("mine\n")
    assert cli.main(TABLE) == 1
    assert "drift.json.partial is there, which no interrupted run has left" in only_error(capsys)
    assert Path("drift.json.partial").read_text() == "mine\n"
    assert (files(), spans) == (["drift.json.partial"], [])


def test_frames_that_cannot_be_written_need_not_be_found_again(inside, spans, capsys, monkeypatch):
    both = ["stack", "movie.tif", "-o", "out.tif", "--table", "drift.csv"]
    with monkeypatch.context() as patch:
        patch.setattr(stacks.StackRegistration, "apply", lambda self, frames: iter([1 / 0]))
        assert cli.main(both) == 1
    assert "drift.csv.partial holds what was found of 5 frames" in capsys.readouterr().err
    assert files() == ["drift.csv.partial"]
    spans.clear()
    assert cli.main(both) == 0
    assert (files(), spans) == (["drift.csv", "out.tif"], [])


def test_a_frame_that_cannot_be_read_ends_the_run_with_a_sentence(inside, spans, capsys, monkeypatch):
    assert interrupt(monkeypatch, 2, error=OSError("the disk is gone")) == 1
    err = capsys.readouterr().err
    assert "the disk is gone" in err
    assert "drift.json.partial holds what was found of 2 frames" in err
    assert files() == ["drift.json.partial"]


def test_a_full_disk_is_no_reason_to_stop(inside, spans, monkeypatch):
    from alignment.commands import checkpoint

    class Full(io.FileIO):
        def write(self, text):
            super().write(text[:100])
            raise OSError(28, "no space left on device")

    monkeypatch.setattr(checkpoint, "open", Full, raising=False)
    assert cli.main(TABLE) == 0
    assert (files(), spans) == (["drift.json"], [(0, 2), (2, 4), (4, 5)])


def test_pieces_that_nobody_could_register_are_tried_again(inside, spans, capsys, monkeypatch):
    """As on workers of which one cannot see the files: its piece is bridged, and those of the others are kept."""
    from alignment import batch

    def run(function, items, *, jobs, scheduler):
        for index, span in enumerate(items):
            lost = OSError("no such folder") if span == (2, 4) and broken else None
            yield batch.Outcome(index, span, None if lost else function(span), lost, 1, 0.0)

    monkeypatch.setattr(batch, "run", run)
    broken = True
    assert cli.main([*TABLE, "--jobs", "2"]) == 1
    assert "holds what was found of 3 frames" in capsys.readouterr().err
    assert StackRegistration.from_json(Path("drift.json").read_text()).status[2:4] == ["failed"] * 2
    assert files() == ["drift.json", "drift.json.partial"]
    broken = False
    spans.clear()
    assert cli.main([*TABLE, "--jobs", "2", "--overwrite"]) == 0
    assert (files(), spans) == (["drift.json"], [(2, 4)])
    assert StackRegistration.from_json(Path("drift.json").read_text()).success.all()


def test_numbers_alone_leave_nothing(inside, spans, capsys, monkeypatch):
    assert interrupt(monkeypatch, 4, ["stack", "movie.tif", "--json"]) == 130
    assert files() == []
