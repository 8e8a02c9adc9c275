#!/usr/bin/env bash
# dist_test.sh CONFIG CHECKPOINT N [options of tools/test.py]
# N processes, one per GPU (gloo on CPU without GPUs). Several machines: set
# NNODES, NODE_RANK, MASTER_ADDR and PORT.
exec "$(dirname "$0")/../launch.sh" test "$@"
