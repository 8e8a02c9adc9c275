"""InfoNCE against a queue: streamed against plain.

Forward and backward of the mean loss, interleaved in one process: ours, and
the logits matrix of the released code (queue cloned, positive prepended,
cross entropy). Extra memory is what each allocates beyond its inputs, at its
peak.

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 \\
    python tools/speed/info_nce.py --threads 1
"""

import argparse
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from figures import write_json
from torch.profiler import ProfilerActivity, profile

from dense_ssl.models.losses import queue_info_nce


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rows', type=int, default=392, help='queries')
    parser.add_argument('--queue', type=int, default=65536)
    parser.add_argument('--dim', type=int, default=128)
    parser.add_argument('--temperature', type=float, default=0.2)
    parser.add_argument('--repeats', type=int, default=11)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--threads', type=int, help='torch threads on CPU')
    parser.add_argument('--json', help='write the figures here; - is stdout')
    return parser.parse_args()


def plain_info_nce(query, positive, queue, temperature):
    """The textbook way, as the released code has it; queue (D, K)."""
    pos = (query * positive).sum(1, keepdim=True)
    logits = torch.cat([pos, query @ queue.clone().detach()], 1) / temperature
    labels = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    return F.cross_entropy(logits, labels, reduction='none')


def peak_mib(task, device: str) -> float:
    """Peak of what ``task`` allocates beyond what is there, MiB."""
    if device != 'cpu':
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        task()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        task()
    now = peak = 0
    for event in run.profiler.kineto_results.events():
        if event.name() == '[memory]':
            now += event.nbytes()
            peak = max(peak, now)
    return peak / 2**20


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    def unit(count):
        return F.normalize(torch.randn(count, args.dim), dim=1).to(args.device)

    query, positive = unit(args.rows).requires_grad_(), unit(args.rows)
    queue = unit(args.queue)
    columns = queue.t().contiguous()

    def run(loss, keys):
        query.grad = None
        loss(query, positive, keys, args.temperature).mean().backward()

    tasks = dict(
        ours=lambda: run(queue_info_nce, queue), plain=lambda: run(plain_info_nce, columns)
    )
    times = {name: [] for name in tasks}
    gradients = {}
    for repeat in range(args.repeats + 2):
        for name, task in tasks.items():
            if args.device != 'cpu':
                torch.cuda.synchronize()
            start = time.perf_counter()
            task()
            if args.device != 'cpu':
                torch.cuda.synchronize()
            if repeat > 1:
                times[name].append(time.perf_counter() - start)
            gradients[name] = query.grad.clone()
    torch.testing.assert_close(gradients['ours'], gradients['plain'])
    seconds = {k: statistics.median(v) for k, v in times.items()}
    memory = {k: peak_mib(task, args.device) for k, task in tasks.items()}
    result = dict(
        ours_s=seconds['ours'],
        plain_s=seconds['plain'],
        ratio=seconds['plain'] / seconds['ours'],
        ours_mib=memory['ours'],
        plain_mib=memory['plain'],
    )
    if args.json:
        write_json(result, args.json)
    if args.json == '-':
        return
    print(
        f'{args.rows} x {args.queue}, {args.dim} dimensions, {args.device}: '
        f'ours {1000 * seconds["ours"]:.1f} ms, {memory["ours"]:.1f} MiB; '
        f'plain {1000 * seconds["plain"]:.1f} ms, '
        f'{memory["plain"]:.1f} MiB; {result["ratio"]:.2f} times as fast'
    )


if __name__ == '__main__':
    sys.exit(main())
