#!/usr/bin/env bash
# dist_train.sh CONFIG CHECKPOINT N [options of tools/finetune.py]
# N processes, one per GPU (gloo on CPU without GPUs). Several machines: set
# NNODES, NODE_RANK, MASTER_ADDR and PORT.
exec "$(dirname "$0")/../launch.sh" train "$@"
