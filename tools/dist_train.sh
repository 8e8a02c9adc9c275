#!/usr/bin/env bash
# Train on N processes: one a GPU, or, without GPUs, N on the CPU.
# Usage: tools/dist_train.sh CONFIG N [options of tools/train.py]
# Environment: NNODES, NODE_RANK, MASTER_ADDR, PORT, OMP_NUM_THREADS, PYTHON
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [ $# -lt 2 ]; then
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
CONFIG=$1
PROCESSES=$2
. "$HERE/launch_env.sh" "$PROCESSES"
launch "$PROCESSES" "$HERE/train.py" "$CONFIG" --launcher pytorch "${@:3}"
