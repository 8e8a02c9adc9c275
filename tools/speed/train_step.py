"""What a pre-training step costs beside its encoders.

In one process, interleaved, medians: the full step (colours, normalisation,
forward, backward, optimiser, momentum update) and two floors made of the very
passes that the step was seen to make:

- backbone floor: the backbone alone, forward and backward of each online
  pass, forward without gradient of each momentum pass;
- network floor: the same with neck, projector, predictors and the like.

    python tools/speed/train_step.py CONFIG --batch-size 8 \\
        --json step.json --plot step.png

Timings on a CPU: set MALLOC_MMAP_MAX_=0 and
MALLOC_TRIM_THRESHOLD_=100000000000, or page faults are what you measure.
"""

import argparse
import resource
import statistics

import torch
from figures import bar_chart
from measuring import add_arguments, begin, medians, report
from mmengine.config import Config, DictAction
from mmengine.dataset import default_collate
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from passes import Breakdown, record_passes, replay

from dense_ssl.engine.device_color import leave_colors_to_device
from dense_ssl.registry import MODELS, TRANSFORMS

AMP = dict(fp16=torch.float16, bf16=torch.bfloat16)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='pre-training config')
    add_arguments(parser, repeats=7)
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--amp', choices=AMP, help='mixed precision')
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--compile', action='store_true', help='torch.compile the backbones')
    parser.add_argument(
        '--colour',
        choices=['device', 'workers'],
        default='device',
        help='where views get their colours; on the device they are part of the step',
    )
    parser.add_argument('--plot', help='write a bar chart here')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args()


def make_batch(cfg: Config, batch_size: int) -> dict:
    """A collated batch from the config's own view pipeline."""
    image = torch.randint(0, 256, (480, 640, 3), dtype=torch.uint8).numpy()
    loaded = dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
    steps = [
        TRANSFORMS.build({'_scope_': 'dense_ssl', **step})
        for step in cfg.train_dataloader.dataset.pipeline
        if not step['type'].startswith('Load')
    ]

    def sample() -> dict:
        results = dict(loaded, img=image.copy())
        for step in steps:
            results = step(results)
        return results

    return default_collate([sample() for _ in range(batch_size)])


class Step:
    """One training step of a config, and the networks it runs."""

    def __init__(self, cfg: Config, args: argparse.Namespace) -> None:
        self.device = torch.device(args.device)
        self.amp = AMP.get(args.amp)
        model_cfg = dict(cfg.model)
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
        self.model = MODELS.build({'_scope_': 'dense_ssl', **model_cfg})
        self.model.to(self.device).train()
        if args.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.channels_last = args.channels_last
        if args.compile:
            self.model.backbone.compile()
            self.model.momentum_encoder.backbone.compile()
        with DefaultScope.overwrite_default_scope('dense_ssl'):  # our LARS
            wrapper = Runner.build_optim_wrapper(_NoRunner(self.model), cfg.optim_wrapper)
        self.optimizer = wrapper.optimizer
        self.clip_grad = wrapper.clip_grad_kwargs
        encoder = self.model.momentum_encoder
        encoder.attach(self.optimizer)
        if encoder.end_momentum is not None:
            encoder.set_total_steps(10**6)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=args.amp == 'fp16')
        self.batch = make_batch(cfg, args.batch_size)

    def autocast(self):
        return torch.autocast(self.device.type, dtype=self.amp, enabled=self.amp is not None)

    def prepare(self) -> dict:
        data = self.model.data_preprocessor(dict(self.batch), True)
        if self.channels_last:
            data['inputs'] = [
                x.contiguous(memory_format=torch.channels_last) for x in data['inputs']
            ]
        return data

    def forward(self, data: dict) -> torch.Tensor:
        with self.autocast():
            losses = self.model(**data, mode='loss')
        return self.model.parse_losses(losses)[0]

    def update(self) -> None:
        if self.clip_grad:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), **self.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

    def __call__(self) -> None:
        loss = self.forward(self.prepare())
        self.scaler.scale(loss).backward()
        self.update()


class _NoRunner:
    """What ``Runner.build_optim_wrapper`` asks a runner for."""

    def __init__(self, model) -> None:
        self.model = model


def peak_memory_mib(device: torch.device) -> float:
    """Peak of the device's allocations; on CPU of the process."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(step: Step, args: argparse.Namespace) -> dict:
    """Medians of interleaved timings."""
    passes = record_passes(step)
    floors = {
        name: replay(step, [p for p in passes if keep(p)])
        for name, keep in dict(
            backbone_floor_s=lambda p: p.is_backbone, network_floor_s=lambda p: True
        ).items()
    }
    result = medians(dict(step_s=step, **floors), args)
    result.update(
        ratio_backbone=result['step_s'] / result['backbone_floor_s'],
        ratio_network=result['step_s'] / result['network_floor_s'],
        images_per_s=args.batch_size / result['step_s'],
    )
    del passes, floors  # they hold copies of their inputs
    if step.device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(step.device)
        step()
    result['peak_memory_mib'] = peak_memory_mib(step.device)
    breakdown = [Breakdown(step).run() for _ in range(3)]
    parts = {k: statistics.median(b[k] for b in breakdown) for k in breakdown[0]}
    return {**result, 'breakdown': parts}


def draw(result: dict, title: str, path: str) -> None:
    """Bars: the step, the two floors, the breakdown."""

    def ms(named: dict) -> list:
        return [(name, 1000 * seconds) for name, seconds in named.items()]

    floors = {f'{kind} floor': result[f'{kind}_floor_s'] for kind in ('network', 'backbone')}
    parts = {k: v for k, v in result['breakdown'].items() if v > 0}
    bar_chart(path, title, 'ms', ms(dict(step=result['step_s'])), ms(floors), ms(parts))


def main() -> None:
    args = parse_args()
    begin(args)
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    leave_colors_to_device(cfg, args.colour == 'device')
    result = measure(Step(cfg, args), args)
    if args.plot:
        draw(result, args.config.rsplit('/', 1)[-1], args.plot)
    lines = [
        f'{args.config}: batch {args.batch_size} on {args.device}',
        f'step {1000 * result["step_s"]:.1f} ms, '
        f'{result["ratio_backbone"]:.3f} x backbone floor, '
        f'{result["ratio_network"]:.3f} x network floor, '
        f'{result["images_per_s"]:.1f} images/s, '
        f'peak {result["peak_memory_mib"]:.0f} MiB',
    ]
    parts = result['breakdown'].items()
    lines += [f'  {name:24} {1000 * seconds:9.2f} ms' for name, seconds in parts]
    report(result, args.json, '\n'.join(lines))


if __name__ == '__main__':
    main()
