"""`npzfs.frame`."""

from __future__ import annotations

import gc
import mmap
import sys
from pathlib import Path

import npzfs
import numpy as np
import pytest
import static_frame as sf
from conftest import mounts, servers, wait_until

FRAME = Path(__file__).parents[3] / "examples" / "frame.npz"


def base(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return array


def test_a_frame_is_mapped_and_keeps_its_server(place):
    (place / "frame.npz").write_bytes(FRAME.read_bytes())
    frame = npzfs.frame(place / "frame.npz")
    (place / "frame.npz").unlink()
    gc.collect()
    assert mounts(place) == [] and servers(place) != []
    stored = sf.Frame.from_npz(FRAME)
    assert frame.equals(stored, compare_name=True, compare_dtype=True, compare_class=True)
    assert all(isinstance(base(column), mmap.mmap) for column in frame.iter_array(axis=0))
    column = frame.iloc[:, 0].values
    del frame
    gc.collect()
    assert np.array_equal(column, stored.iloc[:, 0].values)
    del column
    gc.collect()
    wait_until("the server ends", lambda: servers(place) == [])


def test_without_staticframe_the_error_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "static_frame", None)
    with pytest.raises(ImportError, match=r"pip install 'npzfs\[static-frame\]'"):
        npzfs.frame(FRAME)


def test_without_numpy_the_error_names_the_package(archive, monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match=r"pip install 'npzfs\[numpy\]'"):
        npzfs.load(archive)


def test_an_archive_without_a_frame_is_refused_by_staticframe(archive, place):
    with pytest.raises(FileNotFoundError):
        npzfs.frame(archive)
    assert mounts(place) == []
