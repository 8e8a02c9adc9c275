"""Momentum update and LARS step against plain implementations.

On the parameters of a ResNet-50 with DenseCL's projector, interleaved in one
process. The momentum update against a loop over parameters (as the released
codes do it); LARS against torch's SGD, fused where the device has it, and
against a loop that reads each norm back to the host.

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 \\
    python tools/speed/updates.py --threads 1
"""

import argparse
import statistics
import sys
import time

import torch
from figures import write_json

from dense_ssl.engine.optimizers import LARS
from dense_ssl.models import MomentumEncoder
from dense_ssl.registry import MODELS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--repeats', type=int, default=15)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--threads', type=int, help='torch threads on CPU')
    parser.add_argument('--json', help='write the figures here; - is stdout')
    return parser.parse_args()


@torch.no_grad()
def loop_update(own, online, momentum=0.99):
    """One new tensor after the other, as published code has it."""
    for a, b in zip(own, online):
        a.data = a.data * momentum + b.data * (1.0 - momentum)


@torch.no_grad()
def loop_lars(params, buffers, lr=1e-6, decay=1e-5):
    """Norms come to the host one by one."""
    for p, buffer in zip(params, buffers):
        grad = p.grad
        if p.dim() > 1:
            grad = grad + decay * p
            weight, length = p.norm().item(), grad.norm().item()
            if weight > 0 and length > 0:
                grad = grad * (0.001 * weight / (length + 1e-8))
        buffer.mul_(0.9).add_(grad)
        p.add_(buffer, alpha=-lr)


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    networks = dict(
        backbone=MODELS.build(dict(type='mmpretrain.ResNet', depth=50)),
        projector=MODELS.build(
            dict(
                type='dense_ssl.DenseProjector',
                in_channels=2048,
                hidden_channels=2048,
                out_channels=128,
            )
        ),
    )
    encoder = MomentumEncoder(networks).to(args.device)
    online = [p for m in networks.values() for p in m.to(args.device).parameters()]
    copies = [p.detach().clone() for p in online]
    for p in online:
        p.grad = torch.randn_like(p)
    sgd = torch.optim.SGD(online, lr=1e-6, momentum=0.9, weight_decay=1e-5, fused=True)
    lars = LARS(online, lr=1e-6, momentum=0.9, weight_decay=1e-5)
    buffers = [torch.zeros_like(p) for p in online]

    tasks = dict(
        ema=encoder.update,
        ema_loop=lambda: loop_update(copies, online),
        lars=lars.step,
        lars_loop=lambda: loop_lars(online, buffers),
        sgd_fused=sgd.step,
    )
    times = {name: [] for name in tasks}
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
    ms = {k: 1000 * statistics.median(v) for k, v in times.items()}
    result = dict(
        ms,
        ema_speed_up=ms['ema_loop'] / ms['ema'],
        lars_over_sgd=ms['lars'] / ms['sgd_fused'],
        lars_loop_over_sgd=ms['lars_loop'] / ms['sgd_fused'],
    )
    if args.json:
        write_json(result, args.json)
    if args.json == '-':
        return
    print(
        f'{args.device}: momentum update {ms["ema"]:.1f} ms, loop '
        f'{ms["ema_loop"]:.1f} ms ({result["ema_speed_up"]:.2f} x faster)'
    )
    print(
        f'LARS {ms["lars"]:.1f} ms, {result["lars_over_sgd"]:.2f} x fused '
        f'SGD ({ms["sgd_fused"]:.1f} ms); loop {ms["lars_loop"]:.1f} ms, '
        f'{result["lars_loop_over_sgd"]:.2f} x'
    )


if __name__ == '__main__':
    sys.exit(main())
