"""Convert a released checkpoint of another code base into ours."""

import argparse
import sys

from dense_ssl.transfer import TransferError
from dense_ssl.transfer.importers import LAYOUTS, import_file, save_import
from dense_ssl.transfer.keys import listed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Layouts: '
        + '; '.join(f'{layout.name}: {layout.title}' for layout in LAYOUTS)
        + '.',
    )
    parser.add_argument('checkpoint', help='the file to convert')
    parser.add_argument('out', help='the file to write')
    parser.add_argument(
        '--layout',
        choices=[layout.name for layout in LAYOUTS],
        help='recognised by the names in the file when not given',
    )
    parser.add_argument(
        '--network',
        choices=['online', 'momentum'],
        help='keep one network only; "momentum" makes its backbone ours',
    )
    parser.add_argument(
        '--trust',
        action='store_true',
        help='unpickle whatever the file holds. This runs its code: for '
        'files of an origin you trust, where the ordinary way refuses',
    )
    args = parser.parse_args()
    imported = import_file(args.checkpoint, args.layout, args.network, args.trust)
    save_import(imported, args.checkpoint, args.out)
    print(
        f'{args.checkpoint}: {imported.layout}, {imported.backbone}, '
        f'networks: {", ".join(imported.networks)}'
    )
    if imported.not_used:
        print(f'left out: {listed(imported.not_used)}')
    for note in imported.notes:
        print(f'note: {note}')
    print(f'{len(imported.state_dict)} tensors written to {args.out}')


if __name__ == '__main__':
    try:
        main()
    except TransferError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(1)
