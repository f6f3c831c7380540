"""Silence: decoders are not heard, and their settings come back."""

from __future__ import annotations

import logging
import threading
import warnings

import tifffile

from alignment.imagefiles import read_image

from .imagetools import grey, refuses


def test_tifffile_and_pillow_stay_silent_and_their_settings_return(tmp_path, rng, caplog, capfd):
    tifffile.imwrite(tmp_path / "a.tif", grey(rng), photometric="minisblack")
    data = (tmp_path / "a.tif").read_bytes()
    with caplog.at_level(logging.DEBUG):
        for part in range(8, len(data), 7):
            (tmp_path / "b.tif").write_bytes(data[:part])
            refuses(tmp_path / "b.tif")
    assert not [r for r in caplog.records if r.name.startswith("tifffile")]
    assert not logging.getLogger("tifffile").filters
    filters = list(warnings.filters)
    threads = [threading.Thread(target=read_image, args=(tmp_path / "a.tif",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == filters
    assert not logging.getLogger("tifffile").filters
    assert capfd.readouterr() == ("", "")
