"""Which objects of COCO annotations count, in training and in evaluation alike.

mmdet passes over objects that pycocotools evaluates, and pycocotools over the first object where
ids begin with 0. What mmdet would drop is therefore taken out of the annotations themselves, so
that both see the same; the rest of a file is brought to the types that both can read.
"""

import logging
import math
from collections import Counter
from typing import Any, Optional, Union

from mmengine.logging import print_log
from pycocotools import mask as mask_utils

from dense_ssl.errors import TransferError

from .coco_masks import mask_fault

__all__ = ['as_id', 'as_number', 'as_rle', 'clean_objects', 'objects_per_image', 'put', 'renumber']

#: From this share on, what is left out is a warning.
NOTABLE = 0.05
#: Objects that the guess at the boxes' units looks at.
_SAMPLED = 5000
#: Beyond it numpy, and so pycocotools, takes ids for floating point.
_LARGEST_ID = 2**53


def as_number(value: Any) -> Union[int, float, None]:
    """A number, perhaps written as text; None if it is none, or beyond reason."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        return None
    return int(value) if value == int(value) else value


def as_id(value: Any) -> Union[int, str, None]:
    """An id as JSON may hold it: 7, 7.0 and "7" are the same."""
    if isinstance(value, str):
        return int(value) if value.strip().isdecimal() else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def put(node: dict, key: str, value: Any) -> bool:
    """Set a key; whether that changed its value or type."""
    if key in node and type(node[key]) is type(value) and node[key] == value:
        return False
    node[key] = value
    return True


def renumber(nodes: list[dict], annotations: list[dict], key: str, least: float) -> bool:
    """Give ``nodes`` ids from 1 on where theirs are no whole numbers from ``least`` on.

    ``key`` of the annotations follows.
    """
    if all(type(n['id']) is int and least <= n['id'] < _LARGEST_ID for n in nodes):
        return False
    new = {node['id']: i + 1 for i, node in enumerate(nodes)}
    for node in nodes:
        node['id'] = new[node['id']]
    for annotation in annotations:
        annotation[key] = new[annotation[key]]
    return True


def clean_objects(path: str, content: dict) -> bool:
    """Check all objects, correct their types, leave out what mmdet does not train on.

    Returns:
        Whether ``content`` was changed.

    Raises:
        TransferError: A fault that has no one right correction, or no object is left.
    """
    annotations = content['annotations']
    sizes = {image['id']: (image['width'], image['height']) for image in content['images']}
    changed = [_check_fields(path, annotation) for annotation in annotations]
    for annotation in annotations:
        width, height = sizes[annotation['image_id']]
        fault = mask_fault(annotation.get('segmentation'), height, width)
        if fault:
            raise TransferError(
                f'{path}: the segmentation of annotation {annotation["id"]} '
                f'{fault}. Correct it, or set it to [] for no mask.'
            )
    _refuse_other_units(path, annotations, sizes)

    causes: Counter[str] = Counter()
    kept, derived = [], []
    for annotation in annotations:
        width, height = sizes[annotation['image_id']]
        # mmdet would pass over it, pycocotools count it; crowds are ignored by both.
        ignore = annotation.pop('ignore', None)
        if ignore:
            annotation['iscrowd'] = 1
        derived.append(_derive(annotation, width, height))
        changed.append(ignore is not None)
        cause = _cause(annotation, width, height)
        if not cause:
            kept.append(annotation)
        if cause or ignore:
            causes[cause or 'marked "ignore"'] += 1
    with_masks = any(a.get('segmentation') for a in kept)
    for annotation in kept:
        if with_masks and annotation['iscrowd'] and not annotation.get('segmentation'):
            x, y, w, h = annotation['bbox']
            annotation['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            changed.append(True)
    content['annotations'] = kept
    if any(derived):
        print_log(
            f'{path}: {sum(derived)} of {len(annotations)} areas are missing, not above 0, larger '
            'than the image or text: they are taken from the masks, or from the boxes.',
            'current',
        )
    _say(path, causes, len(annotations))
    if all(annotation['iscrowd'] for annotation in kept):
        raise TransferError(
            f'{path}: no object is left of {len(annotations)}: {_list(causes) or "all are crowds"}.'
        )
    if renumber(kept, [], '', 1):
        print_log(
            f'{path}: annotation ids are renumbered from 1: 0 is "not found" to pycocotools.',
            'current',
        )
        changed.append(True)
    return any([*changed, *derived]) or len(kept) < len(annotations)


def objects_per_image(*contents: dict) -> Counter:
    """How many objects, crowds aside, each image has, by (number of the content, image id)."""
    return Counter(
        (i, a['image_id'])
        for i, content in enumerate(contents)
        for a in content['annotations']
        if not a['iscrowd']
    )


def _check_fields(path: str, annotation: dict) -> bool:
    """Box and flags as numbers, in place; whether that changed anything."""
    box = annotation.get('bbox')
    numbers = [as_number(v) for v in box] if isinstance(box, list) else []
    if len(numbers) != 4 or None in numbers:
        raise TransferError(
            f'{path}: annotation {annotation.get("id")} has bbox {box}; '
            '[x, y, width, height] in pixels is needed.'
        )
    changed = [any(isinstance(v, str) for v in box or ()) and put(annotation, 'bbox', numbers)]
    for key in ('iscrowd', 'ignore') if 'ignore' in annotation else ('iscrowd',):
        flag = annotation.get(key)
        number = int(flag or 0) if flag is None or isinstance(flag, bool) else as_number(flag)
        if number is None:
            raise TransferError(
                f'{path}: annotation {annotation.get("id")} has {key} {flag!r}; 0 or 1 is needed.'
            )
        changed.append(put(annotation, key, int(number != 0)))
    segmentation = annotation.get('segmentation')
    if isinstance(segmentation, dict):
        for key in ('size', 'counts'):
            given = segmentation.get(key)
            if isinstance(given, list) and any(isinstance(n, float) for n in given):
                whole = [int(n) if isinstance(n, float) and n.is_integer() else n for n in given]
                segmentation[key] = whole
                changed.append(True)
    return any(changed)


def _derive(annotation: dict, width: int, height: int) -> bool:
    """Give an object without a usable area the area of its mask, or of its box."""
    given, (w, h) = annotation.get('area'), annotation['bbox'][2:]
    area = as_number(given) or 0
    usable = 0 < area <= width * height
    derived = (area if isinstance(given, str) else given) if usable else w * h
    masked = annotation.get('segmentation')
    if masked and (not usable or min(w, h) < 2):  # perhaps a mask without a pixel
        pixels = int(mask_utils.area(as_rle(masked, height, width)))
        derived = derived if usable and pixels else pixels
    return put(annotation, 'area', derived)


def as_rle(segmentation: Union[list, dict], height: int, width: int) -> dict:
    """Polygons or an RLE as pycocotools' compressed RLE."""
    if isinstance(segmentation, list):
        return mask_utils.merge(mask_utils.frPyObjects(segmentation, height, width))
    if isinstance(segmentation['counts'], list):
        return mask_utils.frPyObjects(segmentation, height, width)
    return segmentation


def _cause(annotation: dict, width: int, height: int) -> Optional[str]:
    """Why mmdet's CocoDataset would pass over an object; None if it does not.

    A mask without a pixel can neither be trained nor found, and is one more reason.
    """
    x, y, w, h = annotation['bbox']
    if w <= 0 or h <= 0:
        return 'with a box without width or height'
    inside = max(0, min(x + w, width) - max(x, 0)) * max(0, min(y + h, height) - max(y, 0))
    if not inside:
        return 'outside of the image'
    if w < 1 or h < 1:
        return 'with a box thinner than a pixel'
    if annotation['area'] <= 0:
        return 'with a mask without a pixel'
    return None


def _list(causes: Counter) -> str:
    return ', '.join(f'{count} {cause}' for cause, count in causes.most_common())


def _say(path: str, causes: Counter, total: int) -> None:
    left_out = sum(causes.values())
    if left_out:
        print_log(
            f'{path}: {left_out} of {total} objects ({left_out / total:.1%}) count neither in '
            f'training nor in evaluation: {_list(causes)}.',
            'current',
            logging.WARNING if left_out > NOTABLE * total else logging.INFO,
        )


def _refuse_other_units(path: str, annotations: list[dict], sizes: dict) -> None:
    """Recognise boxes in fractions of the image, and corners in place of width and height.

    Raises:
        TransferError: Says what the boxes seem to be and how to convert them.
    """
    sample = [
        a
        for a in annotations[:: max(1, len(annotations) // _SAMPLED)]
        if min(a['bbox'][2:]) > 0 and not a['iscrowd']
    ]
    polygons = [a for a in sample if a.get('segmentation') and type(a['segmentation']) is list]
    for objects, what, largest in (
        (sample, 'boxes', lambda a: max(map(abs, a['bbox']))),
        (polygons, 'polygons', lambda a: max(map(max, a['segmentation']))),
    ):
        fractions = [a for a in objects if largest(a) <= 1.01]
        if len(fractions) > len(objects) / 2:
            raise TransferError(
                f'{path}: {len(fractions)} of {len(objects)} {what} lie between 0 and 1, e.g. of '
                f'annotation {fractions[0]["id"]}: they are fractions of the image. COCO has '
                'pixels: multiply x and width by the width of the image, y and height by its '
                'height.'
            )
    votes = [_corners_vote(a, *sizes[a['image_id']]) for a in sample]
    corners = votes.count(1)
    if corners > 0.1 * len(sample) and votes.count(-1) <= NOTABLE * len(sample):
        example = sample[votes.index(1)]
        raise TransferError(
            f'{path}: the boxes seem to be [x1, y1, x2, y2], two corners: {corners} of '
            f'{len(sample)} make no sense as [x, y, width, height], e.g. {example["bbox"]} of '
            f'annotation {example["id"]}. Write [x1, y1, x2 - x1, y2 - y1].'
        )


def _corners_vote(annotation: dict, width: int, height: int) -> int:
    """1 if the box can only be two corners, -1 if it cannot, 0 if it may be either."""
    x, y, w, h = annotation['bbox']
    if w <= x or h <= y or w > 1.02 * width + 1 or h > 1.02 * height + 1:
        return -1
    mask = annotation.get('segmentation')
    if mask and isinstance(mask, list):
        xs = [v for polygon in mask for v in polygon[::2]]
        ys = [v for polygon in mask for v in polygon[1::2]]
        extent = [min(xs), min(ys), max(xs), max(ys)]
        off_corners, off_sides = (
            max(abs(a - b) for a, b in zip(box, extent))
            for box in ((x, y, w, h), (x, y, x + w, y + h))
        )
        if abs(off_corners - off_sides) > 0.1 * min(width, height):
            return 1 if off_corners < off_sides else -1
    if x + w > 1.1 * width or y + h > 1.1 * height:
        return 1
    area = as_number(annotation.get('area')) or 0
    # An area of w * h shows nothing: it may have been computed from corners, too.
    of_corners, of_sides = (
        math.isclose(area, product, rel_tol=0.01) for product in ((w - x) * (h - y), w * h)
    )
    return int(of_corners and not of_sides)
