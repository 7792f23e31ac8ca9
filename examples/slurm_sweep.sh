#!/bin/bash
# A sweep as an array, and a gather behind it:
#   bash examples/slurm_sweep.sh examples/stepsizes.yaml 20
# Run it again for what is not complete; complete cells answer at once.
set -euo pipefail
file=$1 parallel=${2:-20}
script=$(mktemp)
trap 'rm -f "$script"' EXIT
toolbox sweep script "$file" --time 30 --mem 1G --parallel "$parallel" > "$script"
job=$(sbatch --parsable "$script")
# afterany: after an array with one failed task, afterok would wait for ever.
sbatch --dependency="afterany:$job" --time=10 --mem=1G --output="${file%.yaml}.gather-%j.log" \
  --wrap="toolbox sweep status '$file'; exec toolbox sweep gather '$file' --to '${file%.yaml}.csv'"
echo "array $job; follow it with: toolbox sweep status $file"
