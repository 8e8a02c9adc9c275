"""A user's own COCO-format annotations, checked and put into a config."""

import json
import os
from pathlib import Path
from typing import Optional

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from dense_ssl.errors import TransferError
from dense_ssl.files import write_atomically

from ..edits import drop_masks, find_pipeline, for_each_dataset, set_num_classes, wants_masks
from .coco_masks import mask_fault

#: One image in this many is kept for validation when no set is given.
HOLD_OUT = 5


def use_coco_data(
    cfg: Config,
    train_ann: str,
    train_images: str,
    val_ann: Optional[str] = None,
    val_images: Optional[str] = None,
) -> None:
    """Point a mmdet config at own images; classes come from the annotations.

    Without ``val_ann`` every fifth image is kept out of training and validated
    on. Annotations without masks leave out the model's mask branch.

    Args:
        cfg: Changed in place; ``cfg.work_dir`` receives rewritten annotation
            files where the given ones cannot be used as they are.
        train_ann: COCO instances JSON.
        train_images: Folder that its ``file_name`` are relative to.
        val_ann: The same for validation.
        val_images: ``train_images`` when not given.

    Raises:
        TransferError: Names the file, the key and the remedy.
    """
    train, rewritten = read_annotations(train_ann, train_images)
    folder = Path(cfg.work_dir) / 'annotations'
    if val_ann:
        val_images = val_images or train_images
        val, val_rewritten = read_annotations(val_ann, val_images)
        if _names(val) != _names(train):
            raise TransferError(
                f'{val_ann} has other categories than {train_ann}, or another '
                f'order: {_names(val)} against {_names(train)}.'
            )
    else:
        train, val = hold_out(train)
        val_images, rewritten, val_rewritten = train_images, True, True
        print_log(
            f'No --coco-val-ann: {len(val["images"])} of the images are kept '
            f'for validation, {len(train["images"])} trained on.',
            'current',
        )
    if rewritten:
        train_ann = _write(folder / 'train.json', train)
    if val_rewritten:
        val_ann = _write(folder / 'val.json', val)
    train_ann, val_ann = os.path.abspath(train_ann), os.path.abspath(val_ann or '')
    if wants_masks(cfg) and not _has_masks(train):
        drop_masks(cfg)

    classes = tuple(_names(train))
    set_num_classes(cfg, len(classes))

    def point(split, dataset):
        ann, images = (train_ann, train_images) if split == 'train' else (val_ann, val_images)
        if dataset.type != 'CocoDataset':  # VOC, Cityscapes
            pipeline = find_pipeline(dataset)
            dataset.clear()
            dataset.pipeline = pipeline
            dataset.test_mode = split != 'train'
        dataset.update(
            type='CocoDataset',
            data_root='',
            ann_file=ann,
            data_prefix=dict(img=os.path.abspath(images)),
            metainfo=dict(classes=classes),
        )
        if split == 'train':
            # The base also drops images under 32 pixels, silently.
            dataset.filter_cfg = dict(filter_empty_gt=True, min_size=1)

    for_each_dataset(cfg, point)
    for name in ('val_evaluator', 'test_evaluator'):
        if getattr(cfg[name], 'type', None) != 'CocoMetric':
            cfg[name] = ConfigDict(
                type='CocoMetric', metric=['bbox', 'segm'] if wants_masks(cfg) else 'bbox'
            )
        cfg[name].ann_file = val_ann
    _say_what_is_left_out(train, train_ann)


def read_annotations(path: str, images: str) -> tuple[dict, bool]:
    """Read and check a COCO instances file.

    Returns:
        The content, and whether ``area`` or ``iscrowd`` had to be added.

    Raises:
        TransferError: Not COCO, contradictory, or images missing.
    """
    if not os.path.isfile(path):
        raise TransferError(f'annotation file {path} does not exist.')
    if not os.path.isdir(images):
        raise TransferError(f'image folder {images} does not exist.')
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except (ValueError, UnicodeDecodeError) as error:
        raise TransferError(f'{path} is not JSON: {error}') from error
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(content, dict) or not content.get(key):
            raise TransferError(
                f'{path}: "{key}" is missing or empty; a COCO instances file '
                'has images, annotations and categories.'
            )
    _check_images(path, content, images)
    _check_categories(path, content)
    changed = _check_boxes(path, content)
    _check_masks(path, content)
    return content, changed


def hold_out(content: dict) -> tuple[dict, dict]:
    """Split into training and validation; the same split every time."""
    images = sorted(content['images'], key=lambda image: image['file_name'])
    if len(images) < 2:
        raise TransferError(
            'one annotated image cannot be split into training and validation: give --coco-val-ann.'
        )
    val_ids = {image['id'] for image in images[::HOLD_OUT]}
    parts: list[dict] = []
    for is_val in (False, True):
        parts.append(
            {
                **content,
                'images': [i for i in images if (i['id'] in val_ids) == is_val],
                'annotations': [
                    a for a in content['annotations'] if (a['image_id'] in val_ids) == is_val
                ],
            }
        )
    for part, name in zip(parts, ('training', 'validation')):
        if not part['annotations']:
            raise TransferError(
                f'too few annotated images: none is left for {name} after '
                'splitting; give --coco-val-ann.'
            )
    return parts[0], parts[1]


def _names(content: dict) -> list[str]:
    return [category['name'] for category in content['categories']]


def _has_masks(content: dict) -> bool:
    with_mask = sum(bool(a.get('segmentation')) for a in content['annotations'])
    if 0 < with_mask < len(content['annotations']):
        print_log(
            f'{len(content["annotations"]) - with_mask} of '
            f'{len(content["annotations"])} annotations have no mask; those '
            'are ignored by the mask branch.',
            'current',
        )
    return with_mask > 0


def _check_images(path: str, content: dict, images: str) -> None:
    for image in content['images']:
        for key in ('id', 'file_name', 'width', 'height'):
            if key not in image:
                raise TransferError(f'{path}: image {image} has no "{key}".')
        for key in ('width', 'height'):
            if not isinstance(image[key], (int, float)) or image[key] <= 0:
                raise TransferError(
                    f'{path}: image {image["file_name"]} has {key} '
                    f'{image[key]!r}; a number of pixels is needed.'
                )
    ids = {image['id'] for image in content['images']}
    if len(ids) < len(content['images']):
        raise TransferError(f'{path}: image ids are not unique.')
    absent = [
        image['file_name']
        for image in content['images']
        if not os.path.isfile(os.path.join(images, image['file_name']))
    ]
    if absent:
        raise TransferError(
            f'{path}: {len(absent)} of {len(content["images"])} images are '
            f'not in {images}, e.g. {absent[0]}; give the folder their '
            'file_name is relative to.'
        )
    lost = [a for a in content['annotations'] if a.get('image_id') not in ids]
    if lost:
        raise TransferError(
            f'{path}: {len(lost)} annotations name an image_id that is not '
            f'among the images, e.g. {lost[0].get("image_id")}.'
        )


def _check_categories(path: str, content: dict) -> None:
    for category in content['categories']:
        if 'id' not in category or 'name' not in category:
            raise TransferError(f'{path}: category {category} needs an "id" and a "name".')
        if not isinstance(category['name'], (str, int, float)):
            raise TransferError(
                f'{path}: category {category["id"]} has the name '
                f'{category["name"]!r}; a text is needed.'
            )
    names = _names(content)
    ids = {category['id'] for category in content['categories']}
    if len(set(names)) < len(names) or len(ids) < len(names):
        raise TransferError(f'{path}: category names or ids are not unique.')
    for annotation in content['annotations']:
        if annotation.get('category_id') not in ids:
            raise TransferError(
                f'{path}: annotation {annotation.get("id")} has category_id '
                f'{annotation.get("category_id")}, which is not among the '
                'categories.'
            )


def _check_boxes(path: str, content: dict) -> bool:
    """Check boxes; add what mmdet needs and can be derived."""
    changed = False
    seen = set()
    for annotation in content['annotations']:
        box = annotation.get('bbox')
        if (
            not isinstance(box, list)
            or len(box) != 4
            or not all(isinstance(v, (int, float)) and abs(v) < 1e9 for v in box)
        ):
            raise TransferError(
                f'{path}: annotation {annotation.get("id")} has bbox {box}; '
                '[x, y, width, height] in pixels is needed.'
            )
        if 'id' not in annotation or annotation['id'] in seen:
            raise TransferError(
                f'{path}: annotation ids are missing or not unique ({annotation.get("id")}).'
            )
        seen.add(annotation['id'])
        if 'area' not in annotation or 'iscrowd' not in annotation:
            annotation.setdefault('area', box[2] * box[3])
            annotation.setdefault('iscrowd', 0)
            changed = True
    return changed


def _check_masks(path: str, content: dict) -> None:
    sizes = {i['id']: (i['height'], i['width']) for i in content['images']}
    for annotation in content['annotations']:
        fault = mask_fault(annotation.get('segmentation'), *sizes[annotation['image_id']])
        if fault:
            raise TransferError(
                f'{path}: the segmentation of annotation {annotation["id"]} '
                f'{fault}. Correct it, or set it to [] for no mask.'
            )


def _say_what_is_left_out(content: dict, path: str) -> None:
    tiny = sum(min(a['bbox'][2:]) < 1 for a in content['annotations'])
    used = {a['image_id'] for a in content['annotations']}
    empty = len(content['images']) - len(used)
    if tiny or empty:
        print_log(
            f'{path}: {empty} images without an object and {tiny} boxes '
            'thinner than a pixel are left out of training.',
            'current',
        )


def _write(path: Path, content: dict) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content))  # as every process does
    return str(path)
