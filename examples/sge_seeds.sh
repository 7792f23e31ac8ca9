#!/bin/bash
# One command, one seed per job:  qsub examples/sge_seeds.sh
# s_rt sends SIGUSR1 before h_rt kills. h_vmem is per core.
#$ -N toolbox
#$ -t 1-500
#$ -tc 50
#$ -l h_rt=01:00:00,s_rt=00:58:00,h_vmem=4G
#$ -cwd
#$ -V
#$ -j y
#$ -S /bin/bash
#$ -r y

exec toolbox ${COMMAND:-gd train} --threads 1 --seed "$SGE_TASK_ID"
