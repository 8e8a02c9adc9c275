#!/usr/bin/env bash
# Starts benchmarks/{train,test}.py:
# launch.sh JOB CONFIG CHECKPOINT N [options]
set -e
if [ $# -lt 4 ]; then
    echo "usage: dist_$1.sh CONFIG CHECKPOINT N [options]" >&2
    exit 1
fi
JOB=$1 CONFIG=$2 CHECKPOINT=$3 N=$4
shift 4
if ! [[ $N =~ ^[1-9][0-9]*$ ]]; then
    echo "error: N, the number of processes, must be 1 or more, got '$N'" >&2
    exit 1
fi
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$HERE/../..${PYTHONPATH:+:$PYTHONPATH}"
PYTHON=${PYTHON:-python}

if [ "$N" = 1 ] && [ "${NNODES:-1}" = 1 ]; then
    exec "$PYTHON" "$HERE/$JOB.py" "$CONFIG" --checkpoint "$CHECKPOINT" "$@"
fi
exec "$PYTHON" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$N" \
    "$HERE/$JOB.py" "$CONFIG" --checkpoint "$CHECKPOINT" \
    --launcher pytorch "$@"
