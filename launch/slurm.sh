#!/bin/bash
# Training on several nodes under Slurm: sbatch launch/slurm.sh. A rank for each socket, all of its cores for each rank.
#SBATCH --job-name=inception
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

data=${DATA:-$HOME/imagenet}
run=${RUN:-inception_v4}

# The folder of the run has to be on a file system that all nodes have. A job that is preempted, or out of time, saves its state on TERM
# (exit code 75), and goes on from there when it is started again: by itself with --requeue where the cluster allows it.
srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    inception train "$data" -m inception_v4 --recipe paper -b 256 --micro-batch 32 \
    --experiment "$run" --resume auto --threads "$SLURM_CPUS_PER_TASK" || status=$?

if [ "${status:-0}" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "${status:-0}"
