"""Does pre-training help? A small study in a few minutes, of procedural scenes or your images.

DenseCL against random weights: a probe of frozen features, FCN and Mask R-CNN, with few labels.
What is finished is used again. All options of tools/compare.py are taken, too.
"""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.errors import MissingFile
from dense_ssl.files import write_atomically
from dense_ssl.finetune.data.coco import hold_out, read_annotations
from dense_ssl.finetune.data.coco_label_maps import class_words, write_label_maps
from dense_ssl.scenes import write_scenes
from dense_ssl.study import compare_parser, run_study
from dense_ssl.study.cells import fingerprint
from dense_ssl.study.report import collect

#: Labelled images of the user's that are used, to train and to validate.
MOST = dict(train=400, val=50)
SCORES = dict(
    probe_mIoU='linear probe of frozen features, mIoU',
    mIoU='FCN, mIoU',
    box_AP='Mask R-CNN, box AP',
)
SMOKE = (
    *('--base-channels', '8', '--view-size', '32', '--batch-size', '8', '--iters', '8'),
    *('--finetune-iters', '4', '--finetune-batch', '2', '--scale', '64', '64', '--workers', '0'),
    *('--methods', 'densecl'),
)


def main() -> int:
    parser = ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/quickstart'))
    parser.add_argument('--images', type=Path, help='folder of your images without labels')
    parser.add_argument('--coco', type=Path, help='your COCO instance annotations (JSON)')
    parser.add_argument('--coco-images', type=Path, help='folder that its file names start from')
    parser.add_argument(
        '--size', type=int, default=128, help='pixels that labelled images are resized into'
    )
    parser.add_argument('--smoke', action='store_true', help='only see that everything runs')
    args, more = parser.parse_known_args()
    own = [args.images, args.coco, args.coco_images]
    if any(own) and not all(own):
        parser.error('your own data need all of --images, --coco and --coco-images')
    words = [
        *('--work-dir', str(args.work_dir), '--methods', 'random', 'densecl', '--seeds', '1'),
        *('--budget', 'tiny', '--iters', '500', '--finetune-iters', '100', '--workers', '1'),
        *('--scale', str(args.size), str(args.size), '--jobs', '2', '--overwrite'),
        *(SMOKE if args.smoke else ()),
    ]
    with clean_errors():
        data = own_data(args) if args.images else scenes(args)
        study = compare_parser().parse_args([*words, *map(str, data), *more])
    return run_study(study, lambda results: last_lines(args, results))


def scenes(args: Namespace) -> list:
    size, counts = (64, (16, 8, 4)) if args.smoke else (128, (800, 16, 48))
    print('drawing scenes ...', flush=True)
    root = write_scenes(
        args.work_dir / 'data' / 'scenes',
        *counts,
        size=size,
        workers=os.cpu_count() or 1,
        grey=True,
    )
    return [
        *('--images', root / 'unlabelled', '--seg-data', root / 'cityscapes'),
        *('--coco-ann', root / 'annotations' / 'instances_train.json'),
        *('--coco-images', root / 'images' / 'train'),
        *('--coco-val-ann', root / 'annotations' / 'instances_val.json'),
        *('--coco-val-images', root / 'images' / 'val'),
    ]


def own_data(args: Namespace) -> list:
    """Some of the user's labelled images; where all objects have masks, with label maps."""
    if not args.images.exists():
        raise MissingFile(f'--images {args.images} does not exist.')
    content, _ = read_annotations(str(args.coco), str(args.coco_images))
    parts = dict(zip(MOST, hold_out(content)))
    for split, part in parts.items():
        parts[split] = few(part, MOST[split])
    folder = args.work_dir / 'data' / fingerprint([args.coco, args.coco_images])
    files = {split: folder / f'{split}.json' for split in parts}
    classes = class_words(content)
    if not files['val'].is_file():  # written last
        folder.mkdir(parents=True, exist_ok=True)
        if classes:
            print('making label maps of the masks ...', flush=True)
            write_label_maps(folder / 'maps', parts, args.coco_images)
        for split, part in parts.items():
            write_atomically(files[split], json.dumps(part))
    return [
        *('--images', args.images, '--coco-images', args.coco_images),
        *('--coco-ann', files['train'], '--coco-val-ann', files['val']),
        *(('--seg-data', folder / 'maps', '--seg-classes', classes) if classes else ()),
    ]


def few(content: dict, most: int) -> dict:
    """At most so many of the images with objects, the same every time."""
    found = {annotation['image_id'] for annotation in content['annotations']}
    images = [image for image in content['images'] if image['id'] in found]
    order = np.random.default_rng(0).permutation(len(images))[:most]
    images = [images[i] for i in sorted(order)]
    kept = {image['id'] for image in images}
    objects = [a for a in content['annotations'] if a['image_id'] in kept]
    return {**content, 'images': images, 'annotations': objects}


def last_lines(args: Namespace, results: dict) -> Iterable[str]:
    """What pre-training gained."""
    seeds = len(results['study']['seeds'])
    yield ''
    yield collect(results, args.work_dir)['headline']
    starts = results['study']['methods']
    yield f'{"":40}' + ''.join(f'{start:>12}' for start in starts)
    for metric, name in SCORES.items():
        means = []
        for start in starts:
            cells = [cell for cell in results['cells'] if cell['start'] == start]
            found = [cell['metrics'][metric] for cell in cells if metric in cell['metrics']]
            means.append(f'{np.mean(found):12.1f}' if found else f'{"-":>12}')
        yield f'{name:40}' + ''.join(means)
    if seeds == 1 and not args.images:
        yield 'One seed tells little: --seeds 3 compares three, in three times the time.'
    yield f'The page to read, with pictures: {args.work_dir / "report.html"}'
    yield 'Your images: make quickstart IMAGES=folder COCO=annotations.json COCO_IMAGES=folder'


if __name__ == '__main__':
    sys.exit(main())
