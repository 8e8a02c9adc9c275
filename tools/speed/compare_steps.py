"""Steps of several configs, or with several switches, against each other.

In one process, interleaved, medians, as ratios to the first:

    python tools/speed/compare_steps.py MOCOV2.py DENSECL.py
    python tools/speed/compare_steps.py CONFIG \\
        --switches plain channels-last bf16 channels-last+bf16 compile

On a CPU set MALLOC_MMAP_MAX_=0 and MALLOC_TRIM_THRESHOLD_=100000000000.
"""

import argparse
import statistics
import sys

import torch
from figures import write_json
from mmengine.config import Config, DictAction
from train_step import AMP, Step, timed

from dense_ssl.cli.device_color import leave_colours_to_device

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
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--warm-up', type=int, default=2)
    parser.add_argument('--threads', type=int, help='torch threads on CPU')
    parser.add_argument('--json', help='write the figures here; - is stdout')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args()


def build(path: str, chosen: dict, args: argparse.Namespace) -> Step:
    cfg = Config.fromfile(path)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    leave_colours_to_device(cfg, False)
    torch.manual_seed(0)
    return Step(cfg, argparse.Namespace(**{**vars(args), **chosen}))


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    steps = {
        f'{path} {chosen["name"]}': build(path, chosen, args)
        for path in args.configs
        for chosen in args.switches
    }
    times = {name: [] for name in steps}
    for repeat in range(args.warm_up + args.repeats):
        for name, step in steps.items():
            seconds = timed(step, step.device)
            if repeat >= args.warm_up:
                times[name].append(seconds)
    medians = {name: statistics.median(t) for name, t in times.items()}
    first = next(iter(medians.values()))
    result = {
        name: dict(step_s=seconds, ratio=seconds / first, images_per_s=args.batch_size / seconds)
        for name, seconds in medians.items()
    }
    if args.json:
        write_json(result, args.json)
    if args.json == '-':
        return
    print(f'batch {args.batch_size} on {args.device}, {args.repeats} steps')
    for name, r in result.items():
        print(
            f'{1000 * r["step_s"]:9.1f} ms  {r["ratio"]:6.3f}  '
            f'{r["images_per_s"]:8.1f} images/s  {name}'
        )


if __name__ == '__main__':
    sys.exit(main())
