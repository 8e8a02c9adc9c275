#!/usr/bin/env bash
# slurm_train.sh PARTITION CONFIG CHECKPOINT [options of tools/finetune.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK, JOB_NAME and SRUN_ARGS by environment.
exec "$(dirname "$0")/../slurm.sh" "$@"
