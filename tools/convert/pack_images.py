"""Pack a folder of images into one file that pre-training reads.

    python tools/convert/pack_images.py data/imagenet/train train.tar
    python tools/train.py CONFIG --cfg-options data_root=train.tar

Worth while where opening many small files is slow (disks, network folders).
The files are stored as they are, in a tar file with an index. When
interrupted, run the same command: it goes on where it stopped.
"""

import argparse
import sys
import time

from dense_ssl.datasets.image_listing import EXTENSIONS
from dense_ssl.datasets.packing import pack_images


class Progress:
    """Prints how far it is, once in a while."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        # On a terminal the line is written over.
        self.terminal = sys.stdout.isatty()
        self.interval = 0.5 if self.terminal else 10.0
        self.printed = self.start
        self.done = 0

    def __call__(self, done: int, total: int, size: int) -> None:
        now = time.monotonic()
        self.done = done
        if now - self.printed < self.interval and done < total:
            return
        self.printed = now
        rate = done / max(now - self.start, 1e-9)
        left = int((total - done) / rate)
        print(
            f'{done} of {total} images ({100 * done / total:.0f} %), '
            f'{size / 1e6:.0f} MB, {rate:.0f} images/s, '
            f'{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left',
            end='\r' if self.terminal and done < total else '\n',
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', help='of images, nested or flat')
    parser.add_argument('out', help='the pack to write, named *.tar')
    parser.add_argument(
        '--max-unreadable-fraction',
        type=float,
        default=0.0,
        metavar='SHARE',
        help='leave unreadable files out, up to this share of all; by default '
        'the first is an error',
    )
    parser.add_argument(
        '--extensions',
        nargs='+',
        default=EXTENSIONS,
        help=f'ends of the names of images; default: {" ".join(EXTENSIONS)}',
    )
    parser.add_argument(
        '--channels', type=int, default=3, metavar='N', help='bands of the images; default: 3'
    )
    args = parser.parse_args()
    progress = Progress()
    try:
        left_out = pack_images(
            args.folder,
            args.out,
            args.extensions,
            args.max_unreadable_fraction,
            progress,
            args.channels,
        )
    except KeyboardInterrupt:
        print(f'\ninterrupted after {progress.done} images: run the same command again to go on')
        sys.exit(130)
    for message in left_out:
        print(f'left out: {message}')
    print(f'{args.out} is complete')


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(1)
