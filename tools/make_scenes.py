"""Write the procedural scenes: unlabelled images, COCO and Cityscapes."""

import argparse
import os
import time

from dense_ssl.errors import UserError
from dense_ssl.scenes import write_scenes


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder to write to')
    parser.add_argument('--unlabelled', type=int, default=640, metavar='N')
    parser.add_argument('--train', type=int, default=128, metavar='N')
    parser.add_argument('--val', type=int, default=32, metavar='N')
    parser.add_argument(
        '--by-class',
        type=int,
        default=0,
        metavar='N',
        help='also write N training crops a class, one folder per class',
    )
    parser.add_argument('--size', type=int, default=128, help='side of the images in pixels')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--grey', action='store_true', help='without colours')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, help='processes')
    return parser.parse_args()


def main():
    args = parse_args()
    start = time.perf_counter()
    try:
        write_scenes(
            args.root,
            num_unlabelled=args.unlabelled,
            num_train=args.train,
            num_val=args.val,
            size=args.size,
            seed=args.seed,
            num_by_class=args.by_class,
            workers=args.workers,
            grey=args.grey,
        )
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
    print(f'scenes in {args.root} ({time.perf_counter() - start:.1f} s)')


if __name__ == '__main__':
    main()
