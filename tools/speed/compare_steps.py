"""Steps of several configs, or with several switches, against each other.

In one process, interleaved, medians, as ratios to the first:

    python tools/speed/compare_steps.py MOCOV2.py DENSECL.py
    python tools/speed/compare_steps.py CONFIG \\
        --switches plain channels-last bf16 channels-last+bf16 compile

On a CPU set MALLOC_MMAP_MAX_=0 and MALLOC_TRIM_THRESHOLD_=100000000000.
"""

import argparse

import torch
from measuring import add_arguments, begin, medians, report
from mmengine.config import Config, DictAction
from train_step import AMP, Step

from dense_ssl.engine.device_color import leave_colors_to_device

SWITCHES = ('plain', 'channels-last', 'compile', *AMP)


def switches(text: str) -> dict:
    """Options of :class:`Step`, from e.g. 'channels-last+bf16'."""
    names = text.split('+')
    unknown = sorted(set(names) - set(SWITCHES))
    if unknown:
        raise argparse.ArgumentTypeError(f'{text}: use {", ".join(SWITCHES)}, joined by +')
    if set(AMP) <= set(names):
        raise argparse.ArgumentTypeError(f'{text}: one precision at a time')
    return dict(
        name=text,
        channels_last='channels-last' in names,
        compile='compile' in names,
        amp=next((n for n in names if n in AMP), None),
    )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', help='pre-training configs')
    parser.add_argument(
        '--switches',
        nargs='+',
        type=switches,
        default=[switches('plain')],
        help=f'any of {", ".join(SWITCHES)}, joined by +',
    )
    add_arguments(parser, repeats=5)
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args()


def build(path: str, chosen: dict, args: argparse.Namespace) -> Step:
    cfg = Config.fromfile(path)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    leave_colors_to_device(cfg, False)
    torch.manual_seed(0)
    return Step(cfg, argparse.Namespace(**{**vars(args), **chosen}))


def main() -> None:
    args = parse_args()
    begin(args)
    steps = {
        f'{path} {chosen["name"]}': build(path, chosen, args)
        for path in args.configs
        for chosen in args.switches
    }
    times = medians(steps, args)
    first = next(iter(times.values()))
    result = {
        name: dict(step_s=seconds, ratio=seconds / first, images_per_s=args.batch_size / seconds)
        for name, seconds in times.items()
    }
    lines = [f'batch {args.batch_size} on {args.device}, {args.repeats} steps']
    lines += [
        f'{1000 * r["step_s"]:9.1f} ms  {r["ratio"]:6.3f}  '
        f'{r["images_per_s"]:8.1f} images/s  {name}'
        for name, r in result.items()
    ]
    report(result, args.json, '\n'.join(lines))


if __name__ == '__main__':
    main()
