"""Check a config and a pre-training checkpoint before training is spent.

Prints which part of the model is filled from where, what is left over, and
what in the recipe costs accuracy. Exit code 1 where something does.
"""

import argparse
import sys

from dense_ssl.cli.config import load_config
from dense_ssl.cli.options import OptionAction, merge_options
from dense_ssl.finetune.check import check_transfer
from dense_ssl.transfer import TransferError, parse_parts
from dense_ssl.transfer.importers import read_any
from dense_ssl.transfer.loading_report import show_every_key


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file, or mmdet::..., mmseg::')
    parser.add_argument('checkpoint', help='the pre-training checkpoint')
    parser.add_argument(
        '--parts', default='auto', help='auto, or names with commas: backbone,neck,region_head'
    )
    parser.add_argument('--network', choices=['online', 'momentum'], default='online')
    parser.add_argument(
        '--backbone-prefix', help='where the backbone lies in a file that is not ours'
    )
    parser.add_argument(
        '--one-process',
        action='store_true',
        help='training will have one process: norms need no synchronising',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        default={},
        metavar='KEY=VALUE',
        help='further settings of the config',
    )
    args = parser.parse_args()
    show_every_key()
    cfg = load_config(args.config)
    merge_options(cfg, args.cfg_options)
    report, findings = check_transfer(
        cfg,
        read_any(args.checkpoint),
        parse_parts(args.parts),
        args.network,
        args.backbone_prefix,
        not args.one_process,
    )
    print(report)
    for finding in findings:
        print(finding)
    problems = sum(finding.costs for finding in findings)
    print(
        f'verdict: {problems} problem(s) in the recipe'
        if problems
        else 'verdict: the checkpoint fits, the recipe is right'
    )
    return 1 if problems else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (TransferError, ImportError) as error:
        print(f'error: {error}\nverdict: does not fit', file=sys.stderr)
        sys.exit(1)
