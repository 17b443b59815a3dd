#!/bin/bash
#SBATCH --job-name=npzfs-sum
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --mem=1G
#SBATCH --time=00:05:00
#
# sbatch examples/slurm.sh ARCHIVE NAME: sums an array of an archive that all nodes can read.
#
# Each node mounts the archive for as long as its task runs. `npzfs run` unmounts however the task
# ends: by itself, by scancel, which sends SIGTERM before SIGKILL, or when its time is over.

set -euo pipefail

archive=$1 name=$2
# sbatch runs a copy of this script, from the directory where it was called.
task=${SLURM_SUBMIT_DIR:-.}/examples/slurm_task.py

# Inflated members, if there are any, count as memory of the job: far less than --mem.
srun npzfs run --inflate-limit=256M "$archive" -- python3 "$task" {} "$name" |
    awk '{ sum += $1 } END { printf "%.17g\n", sum }'
