"""Fine-tune one checkpoint on several benchmarks and write one table.

Can be interrupted and started again: finished runs are kept, a run that was
cut off goes on from its last checkpoint.
"""

import argparse
import json
import os
import os.path as osp
import re
import shlex
import subprocess
import sys

from dense_ssl.finetune.run import RANDOM
from dense_ssl.finetune.suite import SUITES, Benchmark
from dense_ssl.finetune.suite_table import read_metrics, result, write_tables
from dense_ssl.transfer import TransferError
from dense_ssl.transfer.diagnosis import resnet_depth
from dense_ssl.transfer.importers import read_any
from dense_ssl.transfer.importers.files import file_hash

HERE = osp.dirname(osp.abspath(__file__))
CONFIGS = osp.join(HERE, '..', '..', 'configs', 'benchmarks')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='pre-training checkpoint, or the word "random"')
    parser.add_argument('--suite', choices=list(SUITES), default='all')
    parser.add_argument('--gpus', type=int, default=1, help='processes of each run')
    parser.add_argument('--work-dir', help='folder of the runs and the table')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--network', choices=['online', 'momentum'], default='online')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="adapt the learning rates to these processes' images a step",
    )
    parser.add_argument('--dry-run', action='store_true', help='list the commands, run nothing')
    parser.add_argument(
        '--smoke',
        action='store_true',
        help='every run in a few seconds: ResNet-18, two iterations, '
        'procedural scenes. The figures mean nothing',
    )
    return parser.parse_args()


def command(
    run: Benchmark, folder: str, args: argparse.Namespace, scenes: str, depth: int
) -> list[str]:
    """The command line of one run."""
    words = [
        osp.normpath(osp.join(HERE, run.framework, 'dist_train.sh')),
        osp.normpath(osp.join(CONFIGS, run.config)),
        args.checkpoint,
        str(args.gpus),
        '--work-dir',
        folder,
        '--seed',
        str(args.seed),
        '--network',
        args.network,
        '--resume',
    ]
    if args.auto_scale_lr:
        words += ['--auto-scale-lr']
    if args.smoke:
        words += smoke_options(run, scenes, depth)
    return words


def settings(args: argparse.Namespace) -> dict:
    """What the figures depend on, beside the benchmark."""
    return dict(
        checkpoint=args.checkpoint,
        sha256=None if args.checkpoint == RANDOM else file_hash(args.checkpoint),
        seed=args.seed,
        network=args.network,
        gpus=args.gpus,
        auto_scale_lr=args.auto_scale_lr,
        smoke=args.smoke,
    )


def claim(folder: str, wanted: dict) -> None:
    """Note in a run's folder how it is run, or compare with the note.

    Raises:
        TransferError: The folder is of a run with other settings.
    """
    path = osp.join(folder, 'suite_run.json')
    if not osp.exists(path):
        if read_metrics(folder):
            raise TransferError(
                f'{folder} holds results of something else: give another --work-dir.'
            )
        os.makedirs(folder, exist_ok=True)
        with open(path, 'w', encoding='utf-8') as file:
            json.dump(wanted, file, indent=2)
        return
    with open(path, encoding='utf-8') as file:
        found = json.load(file)
    differing = [
        f'{key}={found.get(key)} (now {value})'
        for key, value in wanted.items()
        if found.get(key) != value
    ]
    if differing:
        raise TransferError(
            f'{folder} holds a run with {", ".join(differing)}: give another --work-dir.'
        )


def smoke_options(run: Benchmark, scenes: str, depth: int) -> list[str]:
    small = ['--small', '16', '--small-depth', str(depth), '--batch-size', '2', '--workers', '0']
    if run.framework == 'mmpretrain':
        return small + ['--image-folder', f'{scenes}/by_class', '--epochs', '1']
    small += ['--iters', '2', '--scale', '96', '96']
    if run.framework == 'mmdetection':
        return small + [
            '--coco-ann',
            f'{scenes}/annotations/instances_train.json',
            '--coco-images',
            f'{scenes}/images/train',
            '--coco-val-ann',
            f'{scenes}/annotations/instances_val.json',
            '--coco-val-images',
            f'{scenes}/images/val',
        ]
    return small + ['--crop', '64', '64', '--seg-data', f'{scenes}/cityscapes']


def main() -> int:
    args = parse_args()
    depth = 18
    if args.checkpoint != RANDOM and not args.dry_run:
        keys = read_any(args.checkpoint).state_dict
        depth = (
            resnet_depth(key[len('backbone.') :] for key in keys if key.startswith('backbone.'))
            or depth
        )
        args.checkpoint = osp.abspath(args.checkpoint)
    name = osp.splitext(osp.basename(args.checkpoint))[0]
    name = f'suite-{name}' + ('-smoke' if args.smoke else '')
    root = osp.abspath(args.work_dir or osp.join('work_dirs', name))
    title = f'{args.suite} from {args.checkpoint}' + (
        ' (smoke run, figures mean nothing)' if args.smoke else ''
    )
    scenes = osp.join(root, 'scenes')
    runs = SUITES[args.suite]
    commands = [command(run, folder_of(root, run), args, scenes, depth) for run in runs]
    if args.dry_run:
        for run, words in zip(runs, commands):
            print(f'# {run.name}\n{shlex.join(words)}')
        return 0
    if args.smoke:
        from dense_ssl.scenes import write_scenes

        write_scenes(
            scenes, num_unlabelled=0, num_train=8, num_val=4, size=96, num_by_class=2, workers=1
        )
    wanted = settings(args)
    for run in runs:
        claim(folder_of(root, run), wanted)
    results = [result(run, folder_of(root, run), 'to do') for run in runs]
    failed = 0
    for index, (run, words) in enumerate(zip(runs, commands)):
        folder = folder_of(root, run)
        done = read_metrics(folder)
        state = 'done'
        if not done:
            print(f'[{index + 1}/{len(runs)}] {run.name}', flush=True)
            log = osp.join(folder, 'output.txt')
            with open(log, 'a', encoding='utf-8') as file:
                code = subprocess.call(
                    words,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env={'PYTHON': sys.executable, **os.environ},
                )
            if code or not read_metrics(folder):
                state, failed = 'failed', failed + 1
                print(f'    failed (exit code {code}), see {log}')
        results[index] = result(run, folder, state)
        write_tables(results, root, title)
    print(f'table: {osp.join(root, "suite.md")} (.csv, .json)')
    return 1 if failed else 0


def folder_of(root: str, run: Benchmark) -> str:
    return osp.join(root, re.sub(r'[^\w.+-]+', '_', run.name))


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (TransferError, ImportError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print('interrupted: the same command goes on from here', file=sys.stderr)
        sys.exit(130)
