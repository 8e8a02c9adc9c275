"""Draw montages that an MCL config makes from a folder of images."""

import argparse

from mmengine.config import Config
from mmengine.runner import set_random_seed
from torchvision.transforms.functional import to_pil_image

import dense_ssl  # noqa: F401
from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.visualization.montage import montage_picture


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='a config of configs/mcl')
    parser.add_argument('data_root', help='folder of images')
    parser.add_argument('out', help='picture to write (.png or .jpg)')
    parser.add_argument('--batch-size', type=int, default=32)
    parser.add_argument('--rows', type=int, default=1, help='rows for each side')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def main():
    args = parse_args()
    set_random_seed(args.seed)
    with clean_errors():
        picture = montage_picture(
            Config.fromfile(args.config), args.data_root, args.batch_size, args.rows
        )
        to_pil_image(picture).save(args.out)


if __name__ == '__main__':
    main()
