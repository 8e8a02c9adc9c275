"""What every process that loads images does before it starts."""

import os
import random
from typing import Optional

import cv2
import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.registry import FUNCTIONS
from torch.utils.data import get_worker_info

__all__ = ['process_rank', 'worker_init']


def process_rank() -> int:
    """Rank of this process, or of the one whose loader worker it is."""
    # A spawned worker has no process group, but has its parent's variables.
    return get_rank() or int(os.environ.get('RANK', 0))


@FUNCTIONS.register_module()
def worker_init(worker_id: int, _scope_: Optional[str] = None) -> None:
    """Pin threads and make this loader worker's random numbers its own.

    Seeds torch, numpy and ``random`` from torch's seed for this loader and
    epoch (drawn from the main process' generator), the rank and the worker:
    no two workers repeat each other on any process, not even when the main
    processes were seeded alike; the same seed, processes and workers give the
    same numbers. OpenCV and torch get one thread each, since the workers are
    the parallelism. ``_scope_`` is not used: mmengine puts it into every dict of
    an inherited config.
    """
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    info = get_worker_info()
    assert info is not None, 'called by a loader in its workers'
    base = info.seed - worker_id
    state = np.random.SeedSequence([base, process_rank(), worker_id])
    torch_seed, python_seed = state.generate_state(2, np.uint64).tolist()
    torch.manual_seed(torch_seed)
    random.seed(python_seed)
    np.random.seed(state.generate_state(8))
