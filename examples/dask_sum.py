"""Sum an array with Dask: each worker process mounts the archive, and no array is sent anywhere."""

import argparse
import functools
from pathlib import Path

from blocks import sum_of_block
from dask.distributed import Client, LocalCluster


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="at the same path for all workers")
    parser.add_argument("name", help="of the array, as np.load has it")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    blocks = 2 * arguments.workers
    job = functools.partial(sum_of_block, arguments.archive.absolute(), arguments.name)

    # A cluster of machines takes the place of this one: SLURMCluster, KubeCluster, ...
    with LocalCluster(
        n_workers=arguments.workers, threads_per_worker=1, dashboard_address=None
    ) as cluster, Client(cluster) as client:
        sums = client.map(job, range(blocks), [blocks] * blocks)
        print(sum(client.gather(sums)))


if __name__ == "__main__":  # worker processes import this file, too
    main()
