"""Check a config and a pre-training checkpoint before training is spent.

Prints which part of the model is filled from where, what is left over, and
what in the recipe costs accuracy. Exit code 1 where something does. Takes the
options of the fine-tuning that it is asked about.
"""

import argparse
import sys

from dense_ssl.cli.arguments import add_arguments, add_label_arguments, add_weight_arguments
from dense_ssl.cli.build import build_config
from dense_ssl.errors import UserError
from dense_ssl.finetune.check import check_transfer
from dense_ssl.transfer import parse_parts
from dense_ssl.transfer.importers import read_any
from dense_ssl.transfer.loading_report import show_every_key


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument('checkpoint', help='the pre-training checkpoint')
    add_weight_arguments(parser)
    add_label_arguments(parser)
    parser.add_argument(
        '--one-process',
        action='store_true',
        help='training will have one process: norms need no synchronising',
    )
    args = parser.parse_args()
    show_every_key()
    cfg = build_config(args)
    report, findings = check_transfer(
        cfg,
        read_any(args.checkpoint),
        parse_parts(args.init_parts),
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
    except (UserError, ImportError) as error:
        print(f'error: {error}\nverdict: does not fit', file=sys.stderr)
        sys.exit(1)
