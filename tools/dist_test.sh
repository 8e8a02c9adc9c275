#!/usr/bin/env bash
# Evaluate on N processes: one a GPU, or, without GPUs, N on the CPU.
# Usage: tools/dist_test.sh CONFIG CHECKPOINT N [options of tools/test.py]
# Environment: NNODES, NODE_RANK, MASTER_ADDR, PORT, OMP_NUM_THREADS, PYTHON
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [ $# -lt 3 ]; then
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
PROCESSES=$3
. "$HERE/launch_env.sh" "$PROCESSES"
launch "$PROCESSES" "$HERE/test.py" "$CONFIG" "$CHECKPOINT" \
    --launcher pytorch "${@:4}"
