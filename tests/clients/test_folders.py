"""Folders of archives and archives in archives, used by Python programs."""

import concurrent.futures
import json
import multiprocessing
import os
import zipfile

import numpy as np
import pytest
import scipy.sparse
import static_frame as sf
from conftest import COMMAND_TIMEOUT_S

ARCHIVES = 10_000
WRITTEN = 500  # the others are links to these
MAPPED = 100


def frame(seed):
    values = np.arange(12.0).reshape(4, 3) * seed
    return sf.Frame(values, columns=("a", "b", "c"), index=list("wxyz"), name=f"f{seed}")


@pytest.fixture
def folder(tmp_path):
    """A folder of ARCHIVES archives, in which neighbours have different arrays."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(WRITTEN):
        np.savez(folder / f"{number}.npz", x=values(number), empty=np.zeros((0, 3)))
    for number in range(WRITTEN, ARCHIVES):
        os.link(folder / f"{number % WRITTEN}.npz", folder / f"{number}.npz")
    return folder


def values(number):
    return np.random.default_rng(number % WRITTEN).random((20, 20))


def test_a_bus_over_a_folder_equals_the_bus_of_its_archives(mount, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    frames = [frame(seed) for seed in range(1, 6)]
    for each in frames:
        each.to_npz(folder / f"{each.name}.npz")
    names = [each.name for each in frames]
    expected = sf.Bus.from_manifest([folder / f"{name}.npz" for name in names])
    at = mount(folder, "--strip-suffix")
    bus = sf.Bus.from_manifest([at / name for name in names])
    options = {"compare_name": True, "compare_dtype": True, "compare_class": True}
    for name, stored, label, each in zip(names, expected.values, bus.index, frames):
        assert label == name
        assert bus[label].equals(stored, **options)
        assert bus[label].equals(each, **options)
    assert bus.equals(expected, **options)


def stats(at):
    return json.loads(os.getxattr(at, "user.npzfs.stats"))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("write", ["to_zip_npz", "to_zip_npy"])
def test_each_frame_of_a_bus_is_mapped(mount, tmp_path, write, compression):
    frames = [frame(seed) for seed in range(1, 6)]
    archive = tmp_path / "bus.zip"
    getattr(sf.Bus.from_frames(frames), write)(archive, compression=compression)
    at = mount(archive, "--recursive")
    names = sorted(os.listdir(at))
    assert len(names) == len(frames)
    for name, expected in zip(names, frames):
        loaded, close = sf.Frame.from_npy_mmap(at / name)
        assert loaded.equals(expected, compare_name=True, compare_dtype=True, compare_class=True)
        del loaded
        close()
    # Stored archives are mapped without a copy.
    assert (stats(at)["inflated"] == 0) == (compression == zipfile.ZIP_STORED)


def load(path):
    return np.load(path, mmap_mode="r").copy()


def test_spawned_processes_read_a_folder(mount, folder):
    at = mount(folder)
    paths = [at / f"{number}.npz" / "x.npy" for number in range(ARCHIVES)]
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        for number, loaded in enumerate(pool.map(load, paths, chunksize=50)):
            assert np.array_equal(loaded, values(number))


class Dataset:
    """The data set that forked workers inherit, with arrays that are already mapped."""

    def __init__(self, at):
        self.at = at
        self.mapped = [self.open(number) for number in range(MAPPED)]

    def open(self, number):
        return np.load(self.at / f"{number}.npz" / "x.npy", mmap_mode="r")

    def __getitem__(self, number):
        array = self.mapped[number] if number < MAPPED else self.open(number)
        return number, array.copy()


def work(dataset, batches, results):
    for batch in iter(batches.get, None):
        results.put([dataset[number] for number in batch])


def test_forked_workers_of_a_data_loader_read_a_folder(mount, folder):
    # Like torch.utils.data.DataLoader(dataset, batch_size=8, num_workers=2) on Linux.
    dataset = Dataset(mount(folder, "--max-open=128"))
    fork = multiprocessing.get_context("fork")
    batches, results = fork.Queue(), fork.Queue()
    workers = [fork.Process(target=work, args=(dataset, batches, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        order = np.random.default_rng(0).permutation(ARCHIVES).tolist()
        starts = range(0, ARCHIVES, 8)
        for start in starts:
            batches.put(order[start : start + 8])
        seen = [item for _ in starts for item in results.get(timeout=COMMAND_TIMEOUT_S)]
    finally:
        for _ in workers:
            batches.put(None)
        for worker in workers:
            worker.join(COMMAND_TIMEOUT_S)
            worker.kill()
    assert sorted(number for number, _ in seen) == list(range(ARCHIVES))
    assert all(np.array_equal(array, values(number)) for number, array in seen)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_sparse_matrix_is_read_as_its_arrays(mount, tmp_path, compressed):
    archive = tmp_path / "sparse.npz"
    matrix = scipy.sparse.random_array((300, 200), density=0.1, format="csr", rng=0)
    scipy.sparse.save_npz(archive, matrix, compressed=compressed)
    at = mount(archive)
    parts = [np.load(at / f"{name}.npy", mmap_mode="r") for name in ("data", "indices", "indptr")]
    shape = tuple(np.load(at / "shape.npy"))
    assert np.load(at / "format.npy").item() == b"csr"
    loaded = scipy.sparse.csr_array(tuple(parts), shape=shape)
    assert (loaded != matrix).nnz == 0


@pytest.mark.parametrize("name", ["model.zip", "model.weights.keras", "checkpoint"])
def test_an_archive_of_any_name_is_mounted(mount, tmp_path, name):
    archive = tmp_path / name
    with archive.open("wb") as file:
        np.savez(file, **{"layers/dense/vars/0": values(1), "bias": values(2)})
    at = mount(archive)
    assert np.array_equal(np.load(at / "layers/dense/vars/0.npy", mmap_mode="r"), values(1))
    assert np.array_equal(np.load(at / "bias.npy", mmap_mode="r"), values(2))
