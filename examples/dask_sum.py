"""Sum an array with Dask. Each worker process mounts the archive; no array data is sent."""

import argparse
import functools
from pathlib import Path

from blocks import sum_of_block
from dask.distributed import Client, LocalCluster


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="the archive, at the same path on all workers")
    parser.add_argument("name", help="the name of the array, as in np.load")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    blocks = 2 * arguments.workers
    job = functools.partial(sum_of_block, arguments.archive.absolute(), arguments.name)

    # On several machines use another cluster class: SLURMCluster, KubeCluster, ...
    with LocalCluster(
        n_workers=arguments.workers, threads_per_worker=1, dashboard_address=None
    ) as cluster, Client(cluster) as client:
        sums = client.map(job, range(blocks), [blocks] * blocks)
        print(sum(client.gather(sums)))


if __name__ == "__main__":  # worker processes also import this file
    main()
