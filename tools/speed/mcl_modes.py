"""Step time and operations of MCL's modes, interleaved in one process."""

import argparse
import statistics
import time

import torch
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

import dense_ssl  # noqa: F401
from dense_ssl.registry import MODELS, OPTIMIZERS

MODES = ('exact', 'selected')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', default='configs/mcl/mcl_resnet50_32xb128-coslr-100e_in1k.py')
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--view-size', type=int, default=224)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--amp', action='store_true', help='bfloat16')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    return parser.parse_args()


def step(model, optimizer, views, amp):
    """One training step; returns its seconds."""
    synchronise = torch.cuda.synchronize if views[0].is_cuda else lambda: None
    synchronise()
    start = time.perf_counter()
    with torch.autocast(views[0].device.type, torch.bfloat16, enabled=amp):
        losses = model.loss(views, None)
        loss = sum(v for k, v in losses.items() if 'loss' in k)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    synchronise()
    return time.perf_counter() - start


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    cfg = Config.fromfile(args.config)
    model = MODELS.build(dict(cfg.model, _scope_='dense_ssl'))
    model = model.to(args.device).train()
    model.momentum_encoder.set_total_steps(1000)
    optimizer = OPTIMIZERS.build(
        dict(cfg.optim_wrapper.optimizer, params=model.parameters(), lr=1e-3, _scope_='dense_ssl')
    )
    model.momentum_encoder.attach(optimizer)
    shape = (args.batch_size, 3, args.view_size, args.view_size)
    views = [torch.randn(shape, device=args.device) for _ in range(8)]

    times, operations = {m: [] for m in MODES}, {}
    for repeat in range(args.repeats + 1):  # the first warms up and counts
        for mode in MODES:
            model.mode = mode
            if repeat:
                times[mode].append(step(model, optimizer, views, args.amp))
                continue
            with FlopCounterMode(display=False) as counter:
                step(model, optimizer, views, args.amp)
            operations[mode] = counter.get_total_flops() / 2e9
    print(
        f'{args.config}, batch {args.batch_size}, {args.view_size} px, '
        f'{args.device}, {args.threads} threads, '
        f'{"bfloat16" if args.amp else "float32"}'
    )
    for mode in MODES:
        rounded = ' '.join(f'{t:.3f}' for t in times[mode])
        print(
            f'{mode:9} {operations[mode]:8.0f} GMAC a step, '
            f'{statistics.median(times[mode]):.3f} s (of {rounded})'
        )
    ratio = [statistics.median(times[m]) for m in MODES]
    print(
        f'exact / selected: {ratio[0] / ratio[1]:.2f} in time, '
        f'{operations["exact"] / operations["selected"]:.2f} in operations'
    )


if __name__ == '__main__':
    main()
