#!/bin/bash
#SBATCH --job-name=npzfs-sum
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --mem=1G
#SBATCH --time=00:05:00
#
# Sums an array of an archive that all nodes can read: sbatch examples/slurm.sh ARCHIVE NAME
#
# Each node mounts the archive while its task runs. `npzfs run` unmounts however the task ends: by
# itself, by scancel, which sends SIGTERM before SIGKILL, or at its time limit.

set -euo pipefail

archive=$1 name=$2
# sbatch runs a copy of this script, in the directory where sbatch was called.
task=${SLURM_SUBMIT_DIR:-.}/examples/slurm_task.py

# Inflated members, if any, are charged to the memory of the job: keep the limit far below --mem.
srun npzfs run --inflate-limit=256M "$archive" -- python3 "$task" {} "$name" |
    awk '{ sum += $1 } END { printf "%.17g\n", sum }'
