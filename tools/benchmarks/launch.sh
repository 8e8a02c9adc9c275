#!/usr/bin/env bash
# Starts tools/finetune.py (JOB train) or tools/test.py (JOB test):
# launch.sh JOB CONFIG CHECKPOINT N [options]
# Environment: NNODES, NODE_RANK, MASTER_ADDR, PORT, OMP_NUM_THREADS, PYTHON
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: dist_${1:-train}.sh CONFIG CHECKPOINT N [options]" >&2
    exit 2
fi
JOB=$1 CONFIG=$2 CHECKPOINT=$3 N=$4
shift 4
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$HERE/launch_env.sh" "$N"
case "$JOB" in
    train) set -- "$HERE/finetune.py" "$CONFIG" --checkpoint "$CHECKPOINT" "$@" ;;
    test) set -- "$HERE/test.py" "$CONFIG" "$CHECKPOINT" "$@" ;;
esac

if [ "$N" = 1 ] && [ "$NNODES" = 1 ]; then
    PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" \
        exec "$PYTHON" "$@"
fi
launch "$N" "$@" --launcher pytorch
