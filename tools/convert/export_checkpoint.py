"""Write our checkpoint in the form another framework loads."""

import argparse
import os.path as osp
import sys

from dense_ssl.transfer import TransferError, parse_parts, read_checkpoint
from dense_ssl.transfer.exporters import FORMATS, export_weights, save_export
from dense_ssl.transfer.exporters.export import PARTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='our checkpoint')
    parser.add_argument('out', help='the file to write')
    parser.add_argument('--to', required=True, choices=list(FORMATS))
    parser.add_argument('--network', choices=['online', 'momentum'], default='online')
    parser.add_argument(
        '--parts',
        default='auto',
        help=f'names with commas out of {",".join(PARTS)}; auto: what both the '
        'file and the format have',
    )
    args = parser.parse_args()
    if osp.exists(args.out) and osp.samefile(args.out, args.checkpoint):
        raise TransferError(f'{args.out} is the file that is read.')
    export = export_weights(
        read_checkpoint(args.checkpoint),
        args.to,
        args.network,
        parse_parts(args.parts),
    )
    save_export(export, args.out)
    print(
        f'{export.meta["backbone"] if "backbone" in export.meta else ""} '
        f'{args.network} network, {", ".join(export.meta["parts"])}: '
        f'{len(export.weights)} tensors written to {args.out} for '
        f'{args.to}'.strip()
    )


if __name__ == '__main__':
    try:
        main()
    except TransferError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(1)
