#!/bin/bash
# A run in 16 parts as a Slurm array: `sbatch parts-slurm.sh`, from the folder that holds suite.yaml and, made before by
# `ADVBENCH_CACHE=cache advbench train suite.yaml`, the weights. A part that was cut off goes on: sbatch --array=7 …
#SBATCH --job-name=advbench
#SBATCH --array=1-16
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --output=part-%a.log
set -euo pipefail
parts=16 # not SLURM_ARRAY_TASK_COUNT, which is 1 where a single part is sent again
part=$SLURM_ARRAY_TASK_ID
export ADVBENCH_CACHE=$SLURM_SUBMIT_DIR/cache
cd "$SLURM_SUBMIT_DIR"
advbench run suite.yaml --part "$part/$parts" --db "part-$part.sqlite" --jobs "$SLURM_CPUS_PER_TASK" --offline
