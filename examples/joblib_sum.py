"""Sum an array with joblib. Each worker process mounts the archive; no array data is sent."""

import argparse
from pathlib import Path

from blocks import sum_of_block
from joblib import Parallel, delayed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="the archive")
    parser.add_argument("name", help="the name of the array, as in np.load")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    blocks = 2 * arguments.workers
    sums = Parallel(n_jobs=arguments.workers)(
        delayed(sum_of_block)(arguments.archive.absolute(), arguments.name, block, blocks)
        for block in range(blocks)
    )
    print(sum(sums))


if __name__ == "__main__":
    main()
