"""Shuffled batch norm's exchange: ours against gathering everything.

N gloo processes on this machine, interleaved: the exchange of a momentum batch
and of its outputs (global, dense and pooled embeddings, and the features that
correspondences are found by) as :class:`BatchShuffle` does it, and as MoCo's
and DenseCL's released codes do: all-gather, one permutation broadcast to all,
each takes its share.

    python tools/speed/batch_shuffle.py --processes 2
"""

import argparse
import os
import statistics
import sys
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from figures import write_json

from dense_ssl.models.batch_shuffle import BatchShuffle


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--batch-size', type=int, default=32, help='of each')
    parser.add_argument('--view-size', type=int, default=224)
    parser.add_argument('--dim', type=int, default=128)
    parser.add_argument('--channels', type=int, default=2048)
    parser.add_argument('--repeats', type=int, default=11)
    parser.add_argument('--json', help='write the figures here; - is stdout')
    return parser.parse_args()


def gather(x: torch.Tensor) -> torch.Tensor:
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x)
    return torch.cat(parts)


def plain(images: torch.Tensor, outputs: list) -> list:
    """All-gather, permute, take a share; and back."""
    count, rank = len(images), dist.get_rank()
    everything = gather(images)
    order = torch.randperm(len(everything))
    dist.broadcast(order, 0)
    here = order.view(-1, count)[rank]
    shuffled = everything[here]
    back = torch.argsort(order).view(-1, count)[rank]
    return [shuffled] + [gather(x)[back] for x in outputs]


def ours(images: torch.Tensor, outputs: list) -> list:
    shuffle = BatchShuffle(len(images), images.device)
    shuffled = shuffle.shuffle(images)
    return [shuffled] + [shuffle.unshuffle(x) for x in outputs]


def work(rank: int, args: argparse.Namespace, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', f'file://{folder}/meet', rank=rank, world_size=args.processes)
    size, cells = args.view_size, args.view_size // 32
    images = torch.randn(args.batch_size, 3, size, size)
    outputs = [
        torch.randn(args.batch_size, *shape)
        for shape in (
            (args.dim,),
            (args.dim,),
            (args.dim, cells, cells),
            (args.channels, cells, cells),
        )
    ]
    times = dict(ours_s=[], plain_s=[])
    for repeat in range(args.repeats + 1):
        for name, exchange in dict(ours_s=ours, plain_s=plain).items():
            dist.barrier()
            start = time.perf_counter()
            exchange(images, outputs)
            dist.barrier()
            if repeat:
                times[name].append(time.perf_counter() - start)
    result = {k: statistics.median(v) for k, v in times.items()}
    result['ratio'] = result['plain_s'] / result['ours_s']
    # what a process holds of it in the end: its batch, or everybody's
    batch = sum(x.numel() * x.element_size() for x in [images, *outputs])
    result.update(ours_mib=batch / 2**20, plain_mib=args.processes * batch / 2**20)
    if rank == 0:
        if args.json:
            write_json(result, args.json)
        if args.json != '-':
            print(
                f'{args.processes} processes, batch {args.batch_size}: ours '
                f'{1000 * result["ours_s"]:.1f} ms, '
                f'{result["ours_mib"]:.0f} MiB gathered; plain '
                f'{1000 * result["plain_s"]:.1f} ms, '
                f'{result["plain_mib"]:.0f} MiB; '
                f'{result["ratio"]:.2f} times as fast'
            )
    dist.destroy_process_group()


def main() -> None:
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (args, folder), args.processes)


if __name__ == '__main__':
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    sys.exit(main())
