"""What JPEGs decoded at 1/2 or 1/4 of their size would save, and change.

Two random crops of an image, resized to views; "allowed": neither crop is
enlarged then. On those, decoding and both views from the whole image against
the same from the reduced one (Pillow's draft mode), by turns, one thread, and
how far the views' grey levels are apart.

    python tools/speed/reduced_decode.py --size 2000 1500
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pictures import write_pictures
from PIL import Image

from dense_ssl.datasets import read_rgb
from dense_ssl.datasets.transforms.geometry import RandomResizedCropWithBox, resize


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--images', help='folder of JPEGs, or some are made')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('W', 'H'),
        default=(2000, 1500),
        help='JPEGs are made, or enlarged, to this size',
    )
    parser.add_argument('--number', type=int, default=6, help='of images')
    parser.add_argument('--repeats', type=int, default=15, help='pairs of crops an image')
    parser.add_argument('--view-size', type=int, default=224)
    parser.add_argument(
        '--least', type=float, default=0.2, help="least share of the image's area in a crop"
    )
    return parser.parse_args()


def whole(path: str, factor: int) -> np.ndarray:
    return read_rgb(path)


def reduced(path: str, factor: int) -> np.ndarray:
    with Image.open(path) as image:
        image.draft('RGB', (image.width // factor, image.height // factor))
        return np.asarray(image)


def views(image: np.ndarray, crops: list, shape: tuple, size: int) -> list:
    """Views of crops given in pixels of an image of ``shape``."""
    y, x = (a / b for a, b in zip(image.shape, shape))
    return [
        resize(
            image[
                round(top * y) : round((top + height) * y),
                round(left * x) : round((left + width) * x),
            ],
            (size, size),
            'bilinear',
        )
        for top, left, height, width in crops
    ]


def measure(paths: list, factor: int, args) -> None:
    crop = RandomResizedCropWithBox(args.view_size, crop_ratio_range=(args.least, 1.0))
    times, pairs = {whole: [], reduced: []}, 0
    # counted at once: arrays kept would make the heap grow while it is timed
    apart = np.zeros(256, np.int64)
    for path in paths:
        image = read_rgb(path)
        for _ in range(args.repeats):
            crops = [crop.rand_crop_params(image) for _ in range(2)]
            pairs += 1
            if min(min(c[2:]) for c in crops) < factor * args.view_size:
                continue
            made = []
            for read in times:
                start = time.perf_counter()
                made.append(views(read(path, factor), crops, image.shape[:2], args.view_size))
                times[read].append(time.perf_counter() - start)
            for a, b in zip(*made):
                difference = np.abs(a.astype(np.int16) - b).ravel()
                apart += np.bincount(difference, minlength=256)
    print(f'1/{factor}: allowed for {len(times[whole]) / pairs:.0%} of the images', end='')
    if apart.any():
        shares = apart / apart.sum()
        full, less = (1000 * statistics.median(t) for t in times.values())
        print(
            f': {full:.1f} ms, reduced {less:.1f} ms, {full / less:.2f} x; '
            f'grey levels apart: mean {shares @ np.arange(256):.2f}, '
            f'99 % {np.searchsorted(shares.cumsum(), 0.99)}, '
            f'most {apart.nonzero()[0].max()}',
            end='',
        )
    print()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    random.seed(0)
    np.random.seed(0)
    with tempfile.TemporaryDirectory() as made:
        if args.images:
            files = sorted(Path(args.images).glob('*.jpg'))[: args.number]
            for i, file in enumerate(files):
                Image.open(file).convert('RGB').resize(args.size, Image.Resampling.BICUBIC).save(
                    f'{made}/{i:04}.jpg', quality=90
                )
        else:
            write_pictures(Path(made), args.number, tuple(args.size))
        paths = sorted(map(str, Path(made).glob('*.jpg')))
        for factor in (2, 4):
            measure(paths, factor, args)


if __name__ == '__main__':
    sys.exit(main())
