"""A user's own label maps, checked and put into a mmseg config."""

import copy
import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from dense_ssl.config_tree import type_name
from dense_ssl.datasets.band_reading import EXTENSION as BANDS
from dense_ssl.datasets.image_listing import EXTENSIONS
from dense_ssl.errors import TransferError

from ..edits import find_pipeline, for_each_dataset, set_num_classes
from .label_scan import image_sizes, map_content, scan

#: Folders of images and label maps, and the endings of their file names.
LAYOUTS = (
    ('img_dir', 'ann_dir', None, '.png'),
    ('leftImg8bit', 'gtFine', '_leftImg8bit.png', '_gtFine_labelTrainIds.png'),
)
IGNORE = 255


def use_segmentation_data(
    cfg: Config,
    root: str,
    classes: Optional[Sequence[str]] = None,
    accept_absent: bool = False,
) -> None:
    """Point a mmseg config at a folder of images and label maps.

    Two layouts are known: ``img_dir/{train,val}/X.jpg`` with
    ``ann_dir/{train,val}/X.png``, and Cityscapes'. A label map holds the class
    index in every pixel, 255 where it is to be ignored. All of them are
    looked into before training.

    Args:
        cfg: Changed in place.
        root: Folder with one of the two layouts.
        classes: Names of the classes by index. May be left out with the
            Cityscapes layout, which then has its own 19.
        accept_absent: Go on where no label map of a split has one of
            ``classes``.

    Raises:
        TransferError: Names the file or folder and the remedy.
    """
    found = read_layout(root, classes, accept_absent, cfg.get('channels', 3))
    images, maps, image_suffix, map_suffix = found.layout
    num_classes = found.num_classes

    def point(split, dataset):
        split = 'train' if split == 'train' else 'val'
        pipeline = find_pipeline(dataset)
        for transform in pipeline:
            if type_name(transform) == 'LoadAnnotations':
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


class LabelMaps(NamedTuple):
    """A folder of images and label maps, looked through.

    Attributes:
        layout: Folders of images and of label maps, endings of their names.
        pairs: Images and their label maps, by split: train, val.
        num_classes: Classes count from 0.
    """

    layout: tuple[str, str, str, str]
    pairs: dict[str, list[tuple[Path, Path]]]
    num_classes: int


def read_layout(
    root: str,
    classes: Optional[Sequence[str]] = None,
    accept_absent: bool = False,
    channels: int = 3,
) -> LabelMaps:
    """Every image with its label map, all of them checked; see :func:`use_segmentation_data`."""
    images, maps, image_suffix, map_suffix = _layout(Path(root))
    if image_suffix is None:
        known = EXTENSIONS if channels == 3 else (*EXTENSIONS, BANDS)
        endings = [_only_ending(Path(root) / images / split, known) for split in ('train', 'val')]
        if endings[0] != endings[1]:
            raise TransferError(
                f'{root}: images end in {endings[0]} in train and in {endings[1]} in val; '
                'they must all have the same file ending.'
            )
        image_suffix = endings[0]
    if classes is None and images != 'leftImg8bit':
        raise TransferError(
            f'--seg-classes is needed with {root}: the number of classes, or '
            'their names with commas between.'
        )
    num_classes = 19 if classes is None else len(classes)
    pairs = {}
    for split in ('train', 'val'):
        pairs[split] = find_pairs(
            Path(root) / images / split, Path(root) / maps / split, image_suffix, map_suffix
        )
        found = check_labels([label for _, label in pairs[split]], num_classes)
        _check_sizes(pairs[split], found, channels)
        _check_classes(f'{root}, {split}', found, classes, num_classes, accept_absent)
    return LabelMaps((images, maps, image_suffix, map_suffix), pairs, num_classes)


def check_named_maps(cfg: Config, split: str, node: ConfigDict) -> None:
    """Check the label maps of a data set that a config names, as those that flags name.

    A class that no map has is a warning: the classes are the data set's own.

    Raises:
        TransferError: As :func:`use_segmentation_data`.
    """
    try:
        dataset = DATASETS.build(dict(copy.deepcopy(node), pipeline=[]))
    except FileNotFoundError:  # named by others
        return
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    pairs = [(Path(x['img_path']), Path(x['seg_map_path'])) for x in infos if 'seg_map_path' in x]
    classes = dataset.metainfo.get('classes')
    if not (pairs and classes):
        return
    where = f'{type_name(node)}, {split}'
    _require_maps(where, pairs)
    # A label map of names to others (`label_map`) makes classes out of any values.
    known = len(classes) + bool(dataset.reduce_zero_label) if not dataset.label_map else IGNORE
    found = check_labels([label for _, label in pairs], known)
    _check_sizes(pairs, found, cfg.get('channels', 3))
    if dataset.label_map:
        return
    if dataset.reduce_zero_label:
        found = [dict(x, values=_without_zero(x['values'])) for x in found]
    _check_classes(where, found, classes, len(classes), accept_absent=True)


def _without_zero(values: dict[str, int]) -> dict[str, int]:
    """Pixels by class where 0 is ignored and 1 is the first."""
    moved: Counter[str] = Counter()
    for value, count in values.items():
        old = int(float(value))
        moved[str(IGNORE if old in (0, IGNORE) else old - 1)] += count
    return dict(moved)


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
        if image.name.startswith('.'):
            continue  # as mmseg does: ._* of macOS
        name = str(image.relative_to(images))[: -len(image_suffix)]
        pairs.append((image, maps / f'{name}{map_suffix}'))
    if not pairs:
        raise TransferError(f'{images} has no image *{image_suffix}.')
    _require_maps(str(images), pairs)
    return pairs


def _require_maps(images: str, pairs: Sequence[tuple[Path, Path]]) -> None:
    absent = [label for _, label in pairs if not label.is_file()]
    if absent:
        raise TransferError(
            f'{len(absent)} of {len(pairs)} images in {images} have no label '
            f'map, e.g. {absent[0]} is missing.'
        )


def check_labels(maps: Sequence[Path], num_classes: int) -> list[dict]:
    """Look into label maps for values that are no class.

    Returns:
        Width, height and pixels of each value, by map.

    Raises:
        TransferError: Names the map and the index.
    """
    found = scan(maps, map_content)
    for path, content in zip(maps, found):
        wrong = [v for v in content['values'] if float(v) not in {*range(num_classes), IGNORE}]
        if wrong:
            raise TransferError(
                f'{path} holds the index {wrong[0]}, but there are '
                f'{num_classes} classes (0 to {num_classes - 1}, {IGNORE} is '
                'ignored); correct --seg-classes or the label maps.'
            )
    return found


def _check_sizes(pairs: Sequence[tuple[Path, Path]], maps: Sequence[dict], channels: int) -> None:
    """Raise TransferError where a label map is not of its upright image's size."""
    sizes = image_sizes([image for image, _ in pairs], channels)
    wrong = [i for i, size in enumerate(sizes) if size['size'] != maps[i]['size']]
    if wrong:
        i = wrong[0]
        (image, label), shapes = pairs[i], (sizes[i]['size'], maps[i]['size'])
        width, height = shapes[0]
        remedy = 'write label maps of the same size as their images.'
        if sizes[i]['turn'] > 4 and shapes[1] == [height, width]:
            remedy = (
                f'the image is stored rotated (EXIF orientation {sizes[i]["turn"]}) and is shown '
                'upright, its label map is not: rotate the map, or take the mark out of the image.'
            )
        raise TransferError(
            f'{len(wrong)} of {len(pairs)} label maps have another size than their image: {label} '
            'has {} x {} pixels, {} {} x {}; {}'.format(*shapes[1], image, width, height, remedy)
        )
    unclear = [
        pairs[i][0]
        for i, size in enumerate(sizes)
        if size['turn'] in (2, 3, 4) or (size['turn'] > 4 and len({*size['size']}) == 1)
    ]
    if unclear:
        print_log(
            f'{len(unclear)} images are turned or mirrored by their EXIF orientation, e.g. '
            f'{unclear[0]}: make sure that their label maps fit the image as it is shown, sizes '
            'do not tell.',
            'current',
            logging.WARNING,
        )


def _check_classes(
    where: str,
    maps: Sequence[dict],
    classes: Optional[Sequence[str]],
    num_classes: int,
    accept_absent: bool,
) -> None:
    """Say what the label maps of a split hold.

    Raises:
        TransferError: Not all that was asked for, or one class alone.
    """
    pixels: Counter[int] = Counter()
    for content in maps:
        pixels.update({int(float(v)): count for v, count in content['values'].items()})
    ignored = pixels.pop(IGNORE, 0) if num_classes <= IGNORE else 0
    total = sum(pixels.values()) + ignored
    names = classes or [str(index) for index in range(num_classes)]
    absent = [f'{i} ({names[i]})' if classes else names[i] for i in range(num_classes)]
    absent = [text for i, text in enumerate(absent) if i not in pixels]
    print_log(
        f'{where}: {len(maps)} images, {len(pixels)} of {num_classes} classes, '
        f'{ignored / total:.1%} of the pixels ignored ({IGNORE}). '
        + ', '.join(f'{names[i]}: {pixels[i] / total:.2%}' for i in sorted(pixels)),
        'current',
    )
    if not absent:
        return
    text = f'{where}: no label map of {len(maps)} holds the class {", ".join(absent)}.'
    if len(pixels) < 2 or (classes and not accept_absent):
        if ignored:
            text += (
                f' {ignored / total:.1%} of the pixels are {IGNORE}, which means ignored: if that '
                f'is meant as a class, write its index, 1 for the second.'
            )
        raise TransferError(
            f'{text} Correct the label maps or --seg-classes'
            + (', or accept that by --accept-absent-classes.' if len(pixels) > 1 else '.')
        )
    print_log(text, 'current', logging.WARNING)


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


def _only_ending(folder: Path, known: Sequence[str]) -> str:
    endings = {path.suffix for path in folder.rglob('*') if path.suffix.lower() in known}
    if len(endings) != 1:
        raise TransferError(
            f'{folder}: the images must all have the same file ending; found '
            f'{sorted(endings) or "no image"}.'
        )
    return endings.pop()
