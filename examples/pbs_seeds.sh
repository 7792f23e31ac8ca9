#!/bin/bash
# One command, one seed per job:  qsub examples/pbs_seeds.sh
# Torque: replace the -J and select lines by  #PBS -t 0-499%50  and  #PBS -l nodes=1:ppn=1,mem=4gb
#PBS -N toolbox
#PBS -J 0-499%50
#PBS -l select=1:ncpus=1:mem=4gb
#PBS -l walltime=01:00:00
#PBS -j oe
#PBS -r y

cd "$PBS_O_WORKDIR" || exit 1
# PBS gives no early warning: timeout sends SIGUSR1 two minutes before the end, hands on SIGTERM.
exec timeout --preserve-status --signal=USR1 3480 \
  toolbox ${COMMAND:-gd train} --threads 1 --seed "${PBS_ARRAY_INDEX:-$PBS_ARRAYID}"
