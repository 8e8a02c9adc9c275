"""Label maps for segmentation, made from the masks of COCO annotations."""

from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as mask_utils

from dense_ssl.datasets.image_reading import read_rgb
from dense_ssl.datasets.survey import find_levels
from dense_ssl.errors import UserError

from .coco_objects import as_rle
from .label_maps import IGNORE

__all__ = ['class_words', 'semantic_map', 'write_label_maps']

_MOST_CLASSES = 254  # 8-bit maps: 0 is the background, 255 ignored
_LONGEST = 512  # pixels of a side


def class_words(content: dict) -> str:
    """The background and the categories, as ``--seg-classes`` takes them.

    They are counted where a name cannot be told there. Empty where not every object has a mask, or
    there are too many categories.
    """
    names = ['background', *(str(category['name']) for category in content['categories'])]
    masks = all(annotation.get('segmentation') for annotation in content['annotations'])
    if not masks or len(names) > _MOST_CLASSES + 1:
        return ''
    plain = all(name and name == name.strip() and ',' not in name for name in names)
    return ','.join(names) if plain and len({*names}) == len(names) else str(len(names))


def write_label_maps(folder: Path, parts: dict[str, dict], images_dir: Path) -> None:
    """Write ``img_dir/{train,val}/*.jpg`` and ``ann_dir/{train,val}/*.png``.

    Both are shrunk where a photograph is large. See :func:`semantic_map`.

    Args:
        folder: For ``img_dir`` and ``ann_dir``.
        parts: COCO annotations by split; every object has a mask.
        images_dir: Folder that ``file_name`` is relative to.

    Raises:
        UserError: An image cannot be read, or has another size than is said.
    """
    images = [(split, image) for split in parts for image in parts[split]['images']]
    paths = [str(images_dir / image['file_name']) for _, image in images]
    levels = find_levels('auto', paths, '--coco-images')
    objects = defaultdict(list)
    for split, content in parts.items():
        for annotation in content['annotations']:
            objects[split, annotation['image_id']].append(annotation)
    for index, (path, (split, image)) in enumerate(zip(paths, images)):
        pixels = read_rgb(path, levels)[..., ::-1]
        height, width = pixels.shape[:2]
        if (width, height) != (image['width'], image['height']):
            raise UserError(
                f'{path} has {width} x {height} pixels, the annotations say {image["width"]} x '
                f'{image["height"]}: correct them, or give the images that they were made on.'
            )
        labels = semantic_map(image, objects[split, image['id']], parts[split]['categories'])
        factor = _LONGEST / max(height, width)
        if factor < 1:
            size = max(1, round(factor * width)), max(1, round(factor * height))
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        for kind, ending, data in (('img_dir', 'jpg', pixels), ('ann_dir', 'png', labels)):
            file = folder / kind / split / f'{index:06d}.{ending}'
            file.parent.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(file), data):
                raise UserError(f'{file} cannot be written: is the disk full?')


def semantic_map(image: dict, annotations: list[dict], categories: list[dict]) -> np.ndarray:
    """Label map of one image: 0 is the background, i + 1 the i-th category, 255 a crowd.

    The smaller object lies on top.

    Returns:
        np.ndarray: uint8 (height, width).
    """
    label = {category['id']: i + 1 for i, category in enumerate(categories)}
    result = np.zeros((image['height'], image['width']), np.uint8)
    masks = []
    for annotation in annotations:
        mask = mask_utils.decode(as_rle(annotation['segmentation'], *result.shape)).astype(bool)
        value = IGNORE if annotation.get('iscrowd') else label[annotation['category_id']]
        masks.append((mask, value))
    for mask, value in sorted(masks, key=lambda found: -found[0].sum()):
        result[mask] = value
    return result
