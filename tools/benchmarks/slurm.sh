#!/usr/bin/env bash
# Starts tools/finetune.py under slurm; see */slurm_train.sh.
set -e
if [ $# -lt 3 ]; then
    echo 'usage: slurm_train.sh PARTITION CONFIG CHECKPOINT [options]' >&2
    exit 1
fi
PARTITION=$1 CONFIG=$2 CHECKPOINT=$3
shift 3
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$HERE/../..${PYTHONPATH:+:$PYTHONPATH}"

# SRUN_ARGS is several words on purpose.
# shellcheck disable=SC2086
exec srun -p "$PARTITION" \
    --job-name="${JOB_NAME:-transfer}" \
    --gres=gpu:"$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$HERE/../finetune.py" "$CONFIG" \
    --checkpoint "$CHECKPOINT" --launcher slurm "$@"
