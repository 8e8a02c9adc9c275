# Sourced by the launchers: choose Python, threads and port. Needs $HERE, the
# tools folder, and $1, the number of processes on this machine.

if [ -z "${PYTHON:-}" ]; then
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$HERE/../.venv/bin/python" ]; then
        PYTHON="$HERE/../.venv/bin/python"
    else
        PYTHON=python
    fi
fi

NNODES=${NNODES:-1}
NODE_RANK=${NODE_RANK:-0}
MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}

case "$1" in
    ''|*[!0-9]*|0)
        echo "error: the number of processes must be a whole number from 1 on, not '$1'" >&2
        exit 2 ;;
esac

# torchrun's own default is one thread a process; share the cores instead.
if [ -z "${OMP_NUM_THREADS:-}" ]; then
    CORES=$("$PYTHON" -c 'import os; print(os.cpu_count() or 1)')
    OMP_NUM_THREADS=$((CORES / $1))
    [ "$OMP_NUM_THREADS" -ge 1 ] || OMP_NUM_THREADS=1
    [ "$OMP_NUM_THREADS" -le 8 ] || OMP_NUM_THREADS=8
    export OMP_NUM_THREADS
fi

if [ -z "${PORT:-}" ]; then
    if [ "$NNODES" -gt 1 ]; then
        PORT=29500  # all nodes must agree
    else
        PORT=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    fi
fi

launch() {  # launch PROCESSES SCRIPT [ARGUMENTS]
    local processes=$1
    shift
    PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" \
        exec "$PYTHON" -m torch.distributed.run \
        --nnodes="$NNODES" --node_rank="$NODE_RANK" \
        --master_addr="$MASTER_ADDR" --master_port="$PORT" \
        --nproc_per_node="$processes" "$@"
}
