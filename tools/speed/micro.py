"""Small parts of a step against plain implementations, by turns in one process.

    python tools/speed/micro.py info-nce --threads 1
    python tools/speed/micro.py updates --threads 1
    python tools/speed/micro.py mcl-modes --threads 1 --repeats 3
    python tools/speed/micro.py shuffle --processes 2

On a CPU set MALLOC_MMAP_MAX_=0 and MALLOC_TRIM_THRESHOLD_=100000000000.
"""

import argparse
import tempfile
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from measuring import add_arguments, begin, medians, report
from mmengine.config import Config
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from train_step import Step

from dense_ssl.engine.optimizers import LARS
from dense_ssl.models import MomentumEncoder
from dense_ssl.models.batch_shuffle import BatchShuffle
from dense_ssl.models.losses import queue_info_nce
from dense_ssl.registry import MODELS


def seconds(times: dict[str, float]) -> dict[str, float]:
    return {f'{name}_s': value for name, value in times.items()}


def peak_mib(task, device: str) -> float:
    """Peak of what ``task`` allocates beyond what is there."""
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


def plain_info_nce(query, positive, queue, temperature):
    """As the released code has it; queue (D, K)."""
    logits = torch.cat([(query * positive).sum(1, keepdim=True), query @ queue.clone()], 1)
    labels = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    return F.cross_entropy(logits / temperature, labels, reduction='none')


def info_nce(args) -> dict:
    """InfoNCE, forward and backward: streamed, and with the whole matrix of logits."""
    query, positive, queue = (
        F.normalize(torch.randn(count, args.dim, device=args.device), dim=1)
        for count in (args.rows, args.rows, args.queue)
    )
    query.requires_grad_()
    columns = queue.t().contiguous()
    gradients: dict[str, torch.Tensor] = {}

    def task(name, loss, keys):
        gradients[name] = torch.autograd.grad(loss(query, positive, keys, 0.2).mean(), query)[0]

    tasks = dict(
        ours=lambda: task('ours', queue_info_nce, queue),
        plain=lambda: task('plain', plain_info_nce, columns),
    )
    times = medians(tasks, args)
    torch.testing.assert_close(gradients['ours'], gradients['plain'])
    memory = {f'{name}_mib': peak_mib(run, args.device) for name, run in tasks.items()}
    return dict(seconds(times), **memory, ratio=times['plain'] / times['ours'])


@torch.no_grad()
def loop_momentum(own, online, momentum=0.99):
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


def updates(args) -> dict:
    """Momentum update and LARS of a ResNet-50: ours, loops, and torch's fused SGD."""
    networks = dict(
        backbone=MODELS.build(dict(type='mmpretrain.ResNet', depth=args.depth)),
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
    # The optimisers have weights of their own: the encoder follows the online networks.
    copies, weights = ([p.detach().clone() for p in online] for _ in range(2))
    for p in weights:
        p.grad = torch.randn_like(p)
    buffers = [torch.zeros_like(p) for p in weights]
    lars = LARS(weights, lr=1e-6, momentum=0.9, weight_decay=1e-5)
    sgd = torch.optim.SGD(weights, lr=1e-6, momentum=0.9, weight_decay=1e-5, fused=True)
    times = medians(
        dict(
            momentum=encoder.update,
            loop_momentum=lambda: loop_momentum(copies, online),
            lars=lars.step,
            loop_lars=lambda: loop_lars(weights, buffers),
            fused_sgd=sgd.step,
        ),
        args,
    )
    return dict(
        seconds(times),
        momentum_ratio=times['loop_momentum'] / times['momentum'],
        lars_over_sgd=times['lars'] / times['fused_sgd'],
        loop_lars_over_sgd=times['loop_lars'] / times['fused_sgd'],
    )


def mcl_modes(args) -> dict:
    """MCL's step: exact over selected, in time and in operations."""
    cfg = Config.fromfile(args.config)
    cfg.train_dataloader.dataset.pipeline[1].view_size = args.view_size
    options = dict(vars(args), amp=args.amp or None, channels_last=False, compile=False)
    step = Step(cfg, argparse.Namespace(**options))

    def task(mode):
        step.model.mode = mode
        step()

    tasks = {mode: lambda mode=mode: task(mode) for mode in ('exact', 'selected')}
    gmac = {}
    for mode, run in tasks.items():
        with FlopCounterMode(display=False) as counter:
            run()
        gmac[mode] = counter.get_total_flops() / 2e9
    times = medians(tasks, args)
    return dict(
        seconds(times),
        **{f'{mode}_gmac': value for mode, value in gmac.items()},
        ratio=times['exact'] / times['selected'],
        operations_ratio=gmac['exact'] / gmac['selected'],
    )


def gather(x):
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x)
    return torch.cat(parts)


def plain_shuffle(images, outputs):
    """As the released codes: all-gather, one permutation for all, each takes its share."""
    everything = gather(images)
    order = torch.randperm(len(everything))
    dist.broadcast(order, 0)
    order = order.view(-1, len(images))
    back = torch.argsort(order.flatten()).view_as(order)[dist.get_rank()]
    return [everything[order[dist.get_rank()]]] + [gather(x)[back] for x in outputs]


def our_shuffle(images, outputs):
    shuffle = BatchShuffle(len(images), images.device)
    return [shuffle.shuffle(images)] + [shuffle.unshuffle(x) for x in outputs]


def shuffle_process(rank, args, folder):
    begin(args)
    dist.init_process_group('gloo', f'file://{folder}/meet', rank=rank, world_size=args.processes)
    cells = args.view_size // 32
    shapes = [(3, args.view_size, args.view_size), (args.dim,), (args.dim,)]
    shapes += [(channels, cells, cells) for channels in (args.dim, args.channels)]
    images, *outputs = (torch.randn(args.batch_size, *shape) for shape in shapes)

    def task(exchange):
        exchange(images, outputs)
        dist.barrier()

    times = medians(dict(ours=lambda: task(our_shuffle), plain=lambda: task(plain_shuffle)), args)
    # what a process holds of it in the end: its batch, or everybody's
    batch = sum(x.numel() * x.element_size() for x in [images, *outputs]) / 2**20
    memory = dict(ours_mib=batch, plain_mib=args.processes * batch)
    if rank == 0:
        torch.save(
            dict(seconds(times), **memory, ratio=times['plain'] / times['ours']), f'{folder}/result'
        )
    dist.destroy_process_group()


def shuffle(args) -> dict:
    """Shuffled batch norm's exchange over gloo: each its share, and everything to everybody."""
    args.device, args.threads = 'cpu', args.threads or 1
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(shuffle_process, (args, folder), args.processes)
        return torch.load(f'{folder}/result')


MCL = 'configs/mcl/mcl_resnet50_32xb128-coslr-100e_in1k.py'
COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], dict], dict]] = {
    'info-nce': (info_nce, dict(rows=392, queue=65536, dim=128)),
    'updates': (updates, dict(depth=50)),
    'mcl-modes': (mcl_modes, dict(config=MCL, batch_size=16, view_size=224, amp='')),
    'shuffle': (
        shuffle,
        dict(processes=2, batch_size=32, view_size=224, dim=128, channels=2048),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest='command', required=True)
    for name, (function, options) in COMMANDS.items():
        command = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        add_arguments(command, repeats=11)
        for key, default in options.items():
            command.add_argument(f'--{key.replace("_", "-")}', type=type(default), default=default)
    args = parser.parse_args()
    begin(args)
    result = COMMANDS[args.command][0](args)
    lines = [f'{key:20} {value:10.4g}' for key, value in result.items()]
    report(result, args.json, '\n'.join(lines))


if __name__ == '__main__':
    main()
