"""Fine-tune a mmdet, mmseg or mmpretrain model from a checkpoint."""

import argparse
import os
import sys

from dense_ssl.cli.finetune_options import add_arguments, build_config
from dense_ssl.finetune import fine_tune
from dense_ssl.finetune.run import RANDOM, print_metrics
from dense_ssl.transfer import TransferError
from dense_ssl.transfer.importers import read_any


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument(
        '--checkpoint',
        required=True,
        metavar='FILE',
        help='pre-training checkpoint as it is, or the word "random"',
    )
    parser.add_argument(
        '--parts', default='auto', help='auto, or names with commas: backbone,neck,region_head'
    )
    parser.add_argument('--network', choices=['online', 'momentum'], default='online')
    parser.add_argument(
        '--backbone-prefix', help='where the backbone lies in a file that is not ours'
    )
    parser.add_argument(
        '--accept-recipe',
        action='store_true',
        help='train by a recipe that check_transfer.py finds fault with',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--auto-scale-lr', action='store_true')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from the last checkpoint in --work-dir, or from a file',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.checkpoint != RANDOM and not args.resume:
        read_any(args.checkpoint)  # before large annotations are read
    cfg = build_config(args)
    if args.amp:
        import torch

        if not torch.cuda.is_available():
            raise TransferError('--amp needs a GPU, and none is visible.')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if args.auto_scale_lr:
        if not cfg.get('auto_scale_lr', {}).get('base_batch_size'):
            raise TransferError(f'{args.config} has no auto_scale_lr.base_batch_size.')
        cfg.auto_scale_lr.enable = True
    parts = args.parts if args.parts == 'auto' else args.parts.split(',')
    metrics = fine_tune(
        cfg, args.checkpoint, parts, args.network, args.backbone_prefix, not args.accept_recipe
    )
    print_metrics(metrics, cfg.work_dir)


if __name__ == '__main__':
    try:
        main()
    except (TransferError, ImportError) as error:
        if os.environ.get('RANK', '0') == '0':
            print(f'error: {error}', file=sys.stderr)
        sys.exit(1)
