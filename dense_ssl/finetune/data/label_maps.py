"""A user's own label maps, checked and put into a mmseg config."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import mmcv
import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log

from dense_ssl.datasets.image_listing import EXTENSIONS
from dense_ssl.errors import TransferError

from ..edits import find_pipeline, for_each_dataset, set_num_classes

#: Folders of images and label maps, and the endings of their file names.
LAYOUTS = (
    ('img_dir', 'ann_dir', None, '.png'),
    ('leftImg8bit', 'gtFine', '_leftImg8bit.png', '_gtFine_labelTrainIds.png'),
)
IGNORE = 255
#: Label maps looked into before training, spread over the folder.
SAMPLED = 64


def use_segmentation_data(cfg: Config, root: str, classes: Optional[Sequence[str]] = None) -> None:
    """Point a mmseg config at a folder of images and label maps.

    Two layouts are known: ``img_dir/{train,val}/X.jpg`` with
    ``ann_dir/{train,val}/X.png``, and Cityscapes'. A label map holds the class
    index in every pixel, 255 where it is to be ignored.

    Args:
        cfg: Changed in place.
        root: Folder with one of the two layouts.
        classes: Names of the classes by index. May be left out with the
            Cityscapes layout, which then has its own 19.

    Raises:
        TransferError: Names the file or folder and the remedy.
    """
    images, maps, image_suffix, map_suffix = _layout(Path(root))
    if image_suffix is None:
        image_suffix = _only_ending(Path(root) / images / 'train')
    is_cityscapes = images == 'leftImg8bit'
    if classes is None and not is_cityscapes:
        raise TransferError(
            f'--seg-classes is needed with {root}: the number of classes, or '
            'their names with commas between.'
        )
    num_classes = 19 if classes is None else len(classes)
    for split in ('train', 'val'):
        pairs = find_pairs(
            Path(root) / images / split, Path(root) / maps / split, image_suffix, map_suffix
        )
        check_labels([label for _, label in pairs], num_classes)
        print_log(f'{root}: {len(pairs)} images in {split}.', 'current')

    def point(split, dataset):
        split = 'train' if split == 'train' else 'val'
        pipeline = find_pipeline(dataset)
        for transform in pipeline:
            if transform['type'] == 'LoadAnnotations':
                # ADE20K has no class 0; own data have.
                transform.pop('reduce_zero_label', None)
        dataset.clear()
        dataset.update(
            pipeline=pipeline,
            test_mode=split != 'train',
            data_root=os.path.abspath(root),
            data_prefix=dict(img_path=f'{images}/{split}', seg_map_path=f'{maps}/{split}'),
        )
        if classes is None:
            dataset.type = 'CityscapesDataset'
            return
        dataset.update(
            type='BaseSegDataset',
            img_suffix=image_suffix,
            seg_map_suffix=map_suffix,
            reduce_zero_label=False,
            metainfo=dict(classes=tuple(classes), palette=palette(num_classes)),
        )

    for_each_dataset(cfg, point)
    set_num_classes(cfg, num_classes)


def parse_classes(text: Optional[str]) -> Optional[tuple[str, ...]]:
    """``'11'`` or ``'sky,road'`` as class names."""
    if text is None:
        return None
    if text.isdigit() and int(text) > 1:
        return tuple(f'class_{index}' for index in range(int(text)))
    names = tuple(name.strip() for name in text.split(',') if name.strip())
    if len(names) < 2 or len(set(names)) < len(names):
        raise TransferError(
            f'--seg-classes {text}: give a number from 2 on, or different '
            'names with commas between.'
        )
    return names


def palette(num_classes: int) -> list[list[int]]:
    """Colours for pictures, the same every time."""
    rng = np.random.RandomState(0)
    return rng.randint(40, 240, size=(num_classes, 3)).tolist()


def find_pairs(
    images: Path, maps: Path, image_suffix: str, map_suffix: str
) -> list[tuple[Path, Path]]:
    """Each image with its label map.

    Raises:
        TransferError: No image, or one without a label map.
    """
    pairs = []
    for image in sorted(images.rglob(f'*{image_suffix}')):
        name = str(image.relative_to(images))[: -len(image_suffix)]
        pairs.append((image, maps / f'{name}{map_suffix}'))
    if not pairs:
        raise TransferError(f'{images} has no image *{image_suffix}.')
    absent = [label for _, label in pairs if not label.is_file()]
    if absent:
        raise TransferError(
            f'{len(absent)} of {len(pairs)} images in {images} have no label '
            f'map, e.g. {absent[0]} is missing.'
        )
    return pairs


def check_labels(maps: Sequence[Path], num_classes: int) -> None:
    """Look into a sample of label maps for indices out of range.

    Raises:
        TransferError: Names the map and the index.
    """
    step = max(1, len(maps) // SAMPLED)
    for path in maps[::step]:
        labels = mmcv.imread(str(path), flag='unchanged', backend='pillow')
        if labels is None or labels.ndim != 2:
            raise TransferError(
                f'{path} is no label map: one channel of class indices is needed, not colours.'
            )
        values = np.unique(labels)
        wrong = values[(values >= num_classes) & (values != IGNORE)]
        if wrong.size:
            raise TransferError(
                f'{path} holds the index {wrong[0]}, but there are '
                f'{num_classes} classes (0 to {num_classes - 1}, {IGNORE} is '
                'ignored); correct --seg-classes or the label maps.'
            )


def _layout(root: Path):
    if not root.is_dir():
        raise TransferError(f'segmentation data {root} does not exist.')
    for layout in LAYOUTS:
        folders = [root / name / split for name in layout[:2] for split in ('train', 'val')]
        if all(folder.is_dir() for folder in folders):
            return layout
    raise TransferError(
        f'{root} has neither img_dir/{{train,val}} with ann_dir/{{train,val}} '
        'nor leftImg8bit/{train,val} with gtFine/{train,val}.'
    )


def _only_ending(folder: Path) -> str:
    endings = {path.suffix for path in folder.rglob('*') if path.suffix.lower() in EXTENSIONS}
    if len(endings) != 1:
        raise TransferError(
            f'{folder}: the images must all have the same file ending; found '
            f'{sorted(endings) or "no image"}.'
        )
    return endings.pop()
