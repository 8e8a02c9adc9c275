"""Run a function in several real gloo processes."""

import socket
import traceback

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _worker(rank, world, port, function, args, queue):
    try:
        torch.set_num_threads(1)
        dist.init_process_group(
            'gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=world
        )
        queue.put((rank, True, function(rank, world, *args)))
        dist.barrier()
        dist.destroy_process_group()
    except Exception:
        queue.put((rank, False, traceback.format_exc()))


def run_distributed(function, world: int = 2, args: tuple = ()) -> list:
    """``function(rank, world, *args)`` in ``world`` processes.

    ``function`` is importable (module level) and returns something that
    pickles (numpy arrays rather than tensors); the results come back in rank
    order.
    """
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    context = mp.get_context('spawn')
    queue = context.Queue()
    processes = [
        context.Process(target=_worker, args=(r, world, port, function, args, queue))
        for r in range(world)
    ]
    for process in processes:
        process.start()
    try:
        results = {}
        for _ in processes:
            rank, ok, value = queue.get(timeout=180)
            assert ok, f'process {rank}:\n{value}'
            results[rank] = value
        for process in processes:
            process.join(30)
    finally:
        for process in processes:
            process.kill()
    return [results[r] for r in range(world)]
