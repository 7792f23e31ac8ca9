#!/bin/bash
# One command, one seed per job, no sweep file:
#   sbatch --array=0-499%50 --output=logs/%x-%A_%a.log examples/slurm_seeds.sh gd train
#   toolbox plot gd train        # at any time: pools the seeds that are there
#   toolbox verify gd train
# (make `logs` first: a job whose log has no folder fails without a word)
#SBATCH --job-name=toolbox
#SBATCH --time=01:00:00
#SBATCH --mem=4G
#SBATCH --nodes=1 --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append

# exec makes Python the batch process, which is what the warning signal reaches.
# Exit 75: stopped with a checkpoint; the same line, submitted again, goes on.
exec toolbox "$@" --seed "$SLURM_ARRAY_TASK_ID"
