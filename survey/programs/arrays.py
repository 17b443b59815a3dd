"""python arrays.py LIBRARY write ARCHIVE | read FILE

Writes a .npz of the survey's three arrays, or prints a .npy as JSON.
"""

import io
import json
import sys
import warnings

import numpy as np

ARRAYS = {
    "x": np.arange(30000.0).reshape(300, 100),
    "y": np.arange(7, dtype="<i4"),
    "deep/z": np.array(2.5),
}


class Pipe(io.RawIOBase):
    """A file that cannot seek, as a pipe or a socket."""

    def __init__(self, path):
        self.file = open(path, "wb")

    def writable(self):
        return True

    def write(self, data):
        return self.file.write(data)


def write(library, path):
    match library:
        case "numpy":
            np.savez(path, **ARRAYS)
        case "numpy-compressed":
            np.savez_compressed(path, **ARRAYS)
        case "numpy-pipe":
            pipe = Pipe(path)
            np.savez(pipe, **ARRAYS)
            pipe.file.close()
        case "mmnpz":
            import mmnpz

            with mmnpz.NpzWriter(path) as out:
                for name, array in ARRAYS.items():
                    out.write(name, array)
        case "jax":
            import jax.numpy as jnp

            jnp.savez(path, **{name: jnp.asarray(array) for name, array in ARRAYS.items()})
        case "mlx":
            import mlx.core as mx

            mx.savez(path, **{name: mx.array(array) for name, array in ARRAYS.items()})
        case "webdataset":
            from webdataset.writer import numpy_npz_dumps

            with open(path, "wb") as file:
                file.write(numpy_npz_dumps(ARRAYS))
        case "scipy":
            import scipy.sparse

            scipy.sparse.save_npz(path, scipy.sparse.csr_array(np.eye(300)))
        case "sparse":
            import sparse

            sparse.save_npz(path, sparse.COO.from_numpy(np.eye(300)))
        case "imageio":
            import imageio.v2

            imageio.v2.mimwrite(path, [np.zeros((8, 8), "u1"), np.ones((8, 8), "u1")])
        case "static-frame":
            import static_frame

            static_frame.Frame(ARRAYS["x"]).to_npz(path)
        case "zarr":
            import zarr

            with zarr.storage.ZipStore(path, mode="w") as store:
                zarr.create_array(store, name="x.npy", data=ARRAYS["x"], compressors=None, chunks=(300, 100))


def read(library, path):
    match library:
        case "numpy":
            return np.load(path)
        case "numpy-mmap":
            return np.load(path, mmap_mode="r")
        case "jax":
            import jax.numpy as jnp

            return np.asarray(jnp.load(path))
        case "mlx":
            import mlx.core as mx

            return np.array(mx.load(path))
        case "mmnpz":
            import os
            import tempfile
            import zipfile

            import mmnpz

            with tempfile.TemporaryDirectory() as folder:
                archive = os.path.join(folder, "one.npz")
                with zipfile.ZipFile(archive, "w") as out:
                    out.write(path, "one.npy")
                return np.array(mmnpz.load(archive)["one"])


def plain(value):
    """A value as JSON has it."""
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, bytes):
        return value.decode()
    return value


def main():
    library, action, path = sys.argv[1:]
    warnings.simplefilter("ignore")
    if action == "write":
        write(library, path)
        return
    array = read(library, path)
    if array.dtype.kind in "mM":
        array = array.astype("i8")
    values = [plain(value) for value in array.ravel().tolist()]
    print(json.dumps({"shape": list(array.shape), "values": values, "fortran": False}))


main()
