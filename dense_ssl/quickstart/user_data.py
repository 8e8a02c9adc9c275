"""A user's images and COCO annotations, checked and made ready to train."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Optional

import cv2
import numpy as np
from pycocotools import mask as mask_utils

from dense_ssl.datasets.image_listing import find_images
from dense_ssl.datasets.image_reading import UnreadableImage, read_rgb
from dense_ssl.datasets.survey import find_levels
from dense_ssl.finetune.data.coco import read_annotations
from dense_ssl.transfer import TransferError

from .class_names import clean_categories

__all__ = [
    'InputError',
    'CocoData',
    'check_images',
    'read_coco',
    'split_coco',
    'subset',
    'semantic_map',
    'write_annotations',
    'write_label_maps',
]

IGNORE = 255
MAX_SIDE = 512  # pixels of the longer side of images with label maps
MAX_CLASSES = 254  # label maps are 8-bit: 0 is background, 255 is ignored


class InputError(ValueError):
    """The user's input cannot be used; the message says why."""


def _some(names: list[str], count: int = 5) -> str:
    more = f' and {len(names) - count} more' if len(names) > count else ''
    return ', '.join(names[:count]) + more


def check_images(folder, least: int) -> list[str]:
    """Paths of the images under a folder, at least ``least`` of them.

    Raises:
        InputError: If the folder is missing or holds too few images.
    """
    try:
        paths = find_images(str(folder))
    except OSError as error:
        raise InputError(f'--images: {error}') from error
    if len(paths) < least:
        raise InputError(
            f'--images: {folder} holds {len(paths)} images, pre-training needs {least} at least'
        )
    return paths


class CocoData:
    """A COCO annotation file with every reference in it checked.

    Attributes:
        path (Path): The file.
        images (list[dict]): Its images that carry objects, sorted by name.
        annotations (dict): Objects of each image, by image id.
        categories (list[dict]): Sorted by id.
    """

    def __init__(self, path: Path, data: dict) -> None:
        self.path = path
        self.categories = sorted(data['categories'], key=lambda c: c['id'])
        self.annotations: dict[int, list[dict]] = defaultdict(list)
        for annotation in data['annotations']:
            self.annotations[annotation['image_id']].append(annotation)
        self.images = sorted(
            (i for i in data['images'] if self.annotations.get(i['id'])),
            key=lambda i: i['file_name'],
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their ids."""
        return tuple(c['name'] for c in self.categories)

    def count_masks(self) -> tuple[int, int]:
        """How many objects have a mask, and how many there are."""
        objects = [a for image in self.annotations.values() for a in image]
        return sum(bool(a.get('segmentation')) for a in objects), len(objects)


def read_coco(path, image_folder) -> CocoData:
    """Read and check a COCO instance annotation file.

    Args:
        path: The JSON file.
        image_folder: Folder its ``file_name`` entries are relative to.

    Raises:
        InputError: If the file or the folder is missing, is no such file,
            contradicts itself, or names images that do not exist.
    """
    path, image_folder = Path(path), Path(image_folder)
    if not path.is_file():
        raise InputError(f'--coco: there is no file {path}')
    if not image_folder.is_dir():
        raise InputError(f'--coco-images: there is no folder {image_folder}')
    try:
        data = read_annotations(str(path), str(image_folder))[0]
    except TransferError as error:
        absent = _absent(path, image_folder)
        also = f' Absent: {_some(absent)}' if absent else ''
        raise InputError(f'--coco: {error}{also}') from error
    try:
        data['categories'] = clean_categories(data['categories'])
    except ValueError as error:
        raise InputError(f'--coco: {path}: {error}') from error
    return CocoData(path, data)


def _absent(path: Path, image_folder: Path) -> list[str]:
    """Images that a file, perhaps a faulty one, names in vain."""
    try:
        images = json.loads(path.read_text(encoding='utf-8'))['images']
        names = [str(i['file_name']) for i in images]
    except (ValueError, KeyError, TypeError):
        return []
    return sorted(n for n in names if not (image_folder / n).is_file())


def split_coco(coco: CocoData, val_fraction: float = 0.2) -> tuple[list[dict], list[dict]]:
    """Training and validation images of one file, always the same ones.

    Args:
        coco (CocoData): At least two images with objects.
        val_fraction (float): Share of validation images.

    Raises:
        InputError: If fewer than two images carry objects.
    """
    if len(coco.images) < 2:
        raise InputError(
            f'{coco.path} has {len(coco.images)} images with objects; two at '
            'least are needed, to train on one and to validate on the other'
        )
    order = np.random.default_rng(0).permutation(len(coco.images))
    num_val = max(1, round(val_fraction * len(order)))
    chosen = set(order[:num_val].tolist())
    return (
        [x for i, x in enumerate(coco.images) if i not in chosen],
        [x for i, x in enumerate(coco.images) if i in chosen],
    )


def subset(items: list, most: Optional[int]) -> list:
    """At most ``most`` items, drawn the same way each time, in order."""
    if most is None or len(items) <= most:
        return items
    kept = np.random.default_rng(0).permutation(len(items))[:most]
    return [items[i] for i in sorted(kept)]


def _decode(annotation: dict, height: int, width: int) -> np.ndarray:
    segmentation = annotation['segmentation']
    if isinstance(segmentation, list):
        rle = mask_utils.merge(mask_utils.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation['counts'], list):
        rle = mask_utils.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    return mask_utils.decode(rle).astype(bool)


def semantic_map(image: dict, annotations: list[dict], categories: list[dict]) -> np.ndarray:
    """Label map of one image from its instance masks.

    Pixels of no object are 0 (background), those of the i-th category i + 1,
    those of crowds 255 (ignored). Where objects overlap the smaller one is
    on top.

    Args:
        image (dict): COCO image with ``height`` and ``width`` in pixels.
        annotations (list[dict]): Its objects, with masks.
        categories (list[dict]): All categories, in order.

    Returns:
        np.ndarray: uint8 (height, width).
    """
    label = {c['id']: i + 1 for i, c in enumerate(categories)}
    result = np.zeros((image['height'], image['width']), np.uint8)
    masks = [
        (_decode(a, *result.shape), IGNORE if a.get('iscrowd') else label[a['category_id']])
        for a in annotations
    ]
    for mask, value in sorted(masks, key=lambda m: -m[0].sum()):
        result[mask] = value
    return result


def write_annotations(
    folder: Path, split: str, coco: CocoData, images: list[dict], with_masks: bool
) -> None:
    """Write ``annotations/instances_{split}.json`` with some of the images.

    ``with_masks=False`` leaves the masks out, for files in which only some
    of the objects have one.
    """
    chosen = [a for i in images for a in coco.annotations[i['id']]]
    if not with_masks:
        chosen = [dict(a, segmentation=[]) for a in chosen]
    path = folder / 'annotations' / f'instances_{split}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(images=images, annotations=chosen, categories=coco.categories)))


def write_label_maps(
    folder: Path, split: str, coco: CocoData, images: list[dict], image_folder: Path
) -> None:
    """Write images with label maps as mmseg reads them.

    ``img_dir/{split}/{index}.jpg`` and ``ann_dir/{split}/{index}.png``, both
    shrunk to ``MAX_SIDE``, so that large photographs do not cost the time.

    Raises:
        InputError: If an image cannot be read, or has another size than the
            annotations say.
    """
    for kind in ('img_dir', 'ann_dir'):
        (folder / kind / split).mkdir(parents=True, exist_ok=True)
    paths = [str(image_folder / image['file_name']) for image in coco.images]
    levels = find_levels('auto', paths, '--coco-images')
    for index, image in enumerate(images):
        path = image_folder / image['file_name']
        try:
            pixels = read_rgb(str(path), levels)[..., ::-1]
        except UnreadableImage as error:
            raise InputError(str(error)) from error
        if pixels.shape[:2] != (image['height'], image['width']):
            raise InputError(
                f'{path} has {pixels.shape[1]}x{pixels.shape[0]} pixels, '
                f'{coco.path} says {image["width"]}x{image["height"]}'
            )
        labels = semantic_map(image, coco.annotations[image['id']], coco.categories)
        scale = MAX_SIDE / max(labels.shape)
        if scale < 1:
            size = tuple(max(1, round(scale * s)) for s in labels.shape[::-1])
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        for kind, name, data in (
            ('img_dir', f'{index:06d}.jpg', pixels),
            ('ann_dir', f'{index:06d}.png', labels),
        ):
            if not cv2.imwrite(str(folder / kind / split / name), data):
                raise InputError(f'cannot write {folder / kind / split}')
