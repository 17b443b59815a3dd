"""Sum an array with joblib: each worker process mounts the archive, and no array is sent anywhere."""

import argparse
from pathlib import Path

from blocks import sum_of_block
from joblib import Parallel, delayed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("name", help="of the array, as np.load has it")
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
