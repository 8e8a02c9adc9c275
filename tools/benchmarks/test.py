"""Evaluate a fine-tuned mmdet or mmseg model."""

import argparse
import os
import sys

from dense_ssl.cli.finetune_options import add_arguments, build_config
from dense_ssl.finetune import test
from dense_ssl.finetune.run import print_metrics
from dense_ssl.transfer import TransferError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument(
        '--checkpoint', required=True, metavar='FILE', help='checkpoint of the fine-tuned model'
    )
    args = parser.parse_args()
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = build_config(args)
    print_metrics(test(cfg, args.checkpoint), cfg.work_dir)


if __name__ == '__main__':
    try:
        main()
    except (TransferError, ImportError) as error:
        if os.environ.get('RANK', '0') == '0':
            print(f'error: {error}', file=sys.stderr)
        sys.exit(1)
