"""Files out of a folder and out of a pack, images a second of one core.

The same files in the same random orders, by turns, one thread: bytes alone,
and decoded. ``cached``: they are in the page cache; ``uncached``: their pages
were dropped before each turn (what is known of folders stays, so that a disk
or network folder met for the first time is slower still).

    python tools/speed/packed_reading.py --images data/some/folder
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from figures import write_json
from pictures import write_pictures

from dense_ssl.datasets import UnlabeledImages, read_rgb
from dense_ssl.datasets.packed import read_packed, split_packed
from dense_ssl.datasets.packing import pack_images


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--images', help='folder; default: JPEGs are made')
    parser.add_argument('--number', type=int, default=2000, help='of images')
    parser.add_argument('--size', type=int, default=160, help='width of images made, pixels')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--json', help='write the figures here; - is stdout')
    return parser.parse_args()


def read_bytes(path: str) -> int:
    packed = split_packed(path)
    if packed:
        return len(read_packed(*packed))
    with open(path, 'rb') as file:
        return len(file.read())


def drop(paths: list) -> None:
    """Take these files' pages out of the page cache."""
    os.sync()
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def measure(folder: str, pack: str, args) -> dict:
    paths = {
        name: [info['img_path'] for info in (data.get_data_info(i) for i in range(len(data)))]
        for name, data in dict(
            folder=UnlabeledImages(data_root=folder, verify=False),
            pack=UnlabeledImages(data_root=pack, verify=False),
        ).items()
    }
    result = {}
    for cached in (True, False):
        for task in (read_bytes, read_rgb):
            times = dict(folder=[], pack=[])
            for repeat in range(args.repeats + 1):  # the first warms up
                order = random.sample(
                    range(len(paths['pack'])), min(args.number, len(paths['pack']))
                )
                for name in times:
                    if not cached:
                        drop([pack, *paths['folder']])
                    start = time.perf_counter()
                    for i in order:
                        task(paths[name][i])
                    if repeat:
                        times[name].append(time.perf_counter() - start)
            rate = {k: len(order) / statistics.median(v) for k, v in times.items()}
            key = f'{"" if cached else "un"}cached_{"bytes" if task is read_bytes else "decoded"}'
            result[key] = dict(rate, ratio=rate['pack'] / rate['folder'])
    return result


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    random.seed(0)
    with tempfile.TemporaryDirectory() as made:
        folder = args.images or f'{made}/images'
        if args.images is None:
            Path(folder).mkdir()
            write_pictures(Path(folder), args.number, (args.size, args.size * 3 // 4))
        pack = f'{made}/all.tar'
        pack_images(folder, pack)
        result = measure(folder, pack, args)
    if args.json:
        write_json(result, args.json)
    if args.json == '-':
        return
    for name, r in result.items():
        print(
            f'{name:18} folder {r["folder"]:8.0f} images/s, pack '
            f'{r["pack"]:8.0f} images/s, {r["ratio"]:.2f} x'
        )


if __name__ == '__main__':
    sys.exit(main())
