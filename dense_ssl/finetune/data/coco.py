"""A user's own COCO-format annotations, checked and put into a config."""

import json
import logging
import os
import zlib
from collections import Counter
from pathlib import Path
from typing import Optional

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from dense_ssl.config_tree import type_name
from dense_ssl.errors import TransferError
from dense_ssl.files import write_atomically

from ..edits import (
    allow_objects,
    drop_masks,
    find_pipeline,
    for_each_dataset,
    read_any_mask,
    set_num_classes,
    wants_masks,
)
from .coco_objects import as_id, as_number, clean_objects, objects_per_image, put, renumber
from .label_scan import image_sizes

#: Detections an image that COCO evaluates; more where images have more objects.
MAX_DETECTIONS = 100
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
    on. Where objects have no masks, the model's mask branch is left out. Of
    images with more than 100 objects all can be found, and are evaluated.

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
    channels = cfg.get('channels', 3)
    _check_image_sizes(train_ann, train, train_images, channels)
    folder = Path(cfg.work_dir) / 'annotations'
    if val_ann:
        val_images = val_images or train_images
        val, val_rewritten = read_annotations(val_ann, val_images)
        _check_image_sizes(val_ann, val, val_images, channels)
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
    if wants_masks(cfg):
        if _have_masks(train, val):
            read_any_mask(cfg)  # as RLE too
        else:
            drop_masks(cfg)

    classes = tuple(_names(train))
    set_num_classes(cfg, len(classes))

    def point(split, dataset):
        ann, images = (train_ann, train_images) if split == 'train' else (val_ann, val_images)
        if type_name(dataset) != 'CocoDataset':  # VOC, Cityscapes
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
        if not isinstance(cfg[name], dict) or type_name(cfg[name]) != 'CocoMetric':
            cfg[name] = ConfigDict(
                type='CocoMetric', metric=['bbox', 'segm'] if wants_masks(cfg) else 'bbox'
            )
        cfg[name].ann_file = val_ann
    _make_room(cfg, train, val)
    _say_what_counts(train, train_ann, 'trained')
    _say_what_counts(val, val_ann, 'evaluated')


def check_named_annotations(
    cfg: Config, split: str, path: str, images: str, may_be_bare: bool = False
) -> str:
    """Check annotations that a config names, as :func:`use_coco_data` checks others.

    Returns:
        The file to read instead, where something was changed or left out, or ''.
    """
    content, rewritten = read_annotations(path, images, may_be_bare)
    if not content.get('annotations'):  # COCO's test images, or images for semi-supervision
        print_log(f'{path} has no annotations to check.', 'current')
        return ''
    if wants_masks(cfg) and not _have_masks(content):
        drop_masks(cfg)
    _make_room(cfg, content)
    _say_what_counts(content, path, 'trained' if split == 'train' else 'evaluated')
    name = f'{split}-{Path(path).stem}-{zlib.crc32(os.path.abspath(path).encode()):08x}.json'
    copy = Path(cfg.work_dir) / 'annotations' / name
    return os.path.abspath(_write(copy, content)) if rewritten else ''


def _make_room(cfg: Config, *contents: dict) -> None:
    """Let images with more objects than COCO evaluates have as many detections."""
    counts = objects_per_image(*contents).values()
    crowded = [count for count in counts if count > MAX_DETECTIONS]
    if crowded:
        most = -100 * (max(crowded) // -100)
        allow_objects(cfg, most)
        print_log(
            f'{len(crowded)} images have more than {MAX_DETECTIONS} objects, up to {max(crowded)}: '
            f'{most} detections an image are kept and evaluated (max_per_img, proposal_nums).',
            'current',
        )


def read_annotations(path: str, images: str, may_be_bare: bool = False) -> tuple[dict, bool]:
    """Read and check a COCO instances file; with ``may_be_bare`` also one without annotations.

    Returns:
        The content with the objects that count, and whether it differs from
        the file: what is left out and why is in the log.

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
    if may_be_bare and isinstance(content, dict) and not content.get('annotations'):
        return content, False
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(content, dict) or not content.get(key):
            raise TransferError(
                f'{path}: "{key}" is missing or empty; a COCO instances file '
                'has images, annotations and categories.'
            )
    annotations = content['annotations']
    changed = [
        _check_images(path, content, images),
        _check_categories(path, content),
        _check_ids(path, annotations),
        clean_objects(path, content),
        renumber(content['images'], content['annotations'], 'image_id', 0),
        renumber(content['categories'], content['annotations'], 'category_id', 0),
    ]
    return content, any(changed)


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
        if all(annotation['iscrowd'] for annotation in part['annotations']):
            raise TransferError(
                f'too few annotated images: none is left for {name} after '
                'splitting; give --coco-val-ann.'
            )
    return parts[0], parts[1]


def _names(content: dict) -> list[str]:
    return [category['name'] for category in content['categories']]


def _have_masks(*contents: dict) -> bool:
    """Whether every object has a mask; mmdet cannot train on masks of some only."""
    objects = [a for content in contents for a in content['annotations']]
    without = sum(not a.get('segmentation') for a in objects)
    if 0 < without < len(objects):
        print_log(
            f'{without} of {len(objects)} objects have no mask: boxes alone are trained and '
            'evaluated, of all objects. For masks, draw the missing ones, or take these objects '
            'out of the annotations.',
            'current',
            logging.WARNING,
        )
    return not without


def _check_images(path: str, content: dict, images: str) -> bool:
    changed = []
    for image in content['images']:
        for key in ('id', 'file_name', 'width', 'height'):
            if key not in image:
                raise TransferError(f'{path}: image {image} has no "{key}".')
        for key in ('width', 'height'):
            size = as_number(image[key])
            if not isinstance(size, int) or size <= 0:
                raise TransferError(
                    f'{path}: image {image["file_name"]} has {key} '
                    f'{image[key]!r}; a number of pixels is needed.'
                )
            changed.append(put(image, key, size))
    changed += [_check_id(path, image, 'id') for image in content['images']]
    changed += [_check_id(path, a, 'image_id') for a in content['annotations']]
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
    return any(changed)


def _check_image_sizes(path: str, content: dict, folder: str, channels: int = 3) -> None:
    """Open every image: boxes lie elsewhere where it has another size, upright, than is said."""
    files = [Path(folder, image['file_name']) for image in content['images']]
    sizes = image_sizes(files, channels)
    wrong = [
        (image, found)
        for image, found in zip(content['images'], sizes)
        if found['size'] != [image['width'], image['height']]
    ]
    if not wrong:
        return
    image, found = wrong[0]
    said, size = [image['width'], image['height']], found['size']
    remedy = 'correct the annotations, or give the images that they were made on.'
    if found['turn'] > 4 and said == size[::-1]:
        remedy = (
            f'the image is stored rotated (EXIF orientation {found["turn"]}) and is shown upright: '
            'turn the annotations, or take the mark out of the image.'
        )
    raise TransferError(
        f'{path}: {len(wrong)} of {len(files)} images have another size than is said: '
        '{} {} x {}, not {} x {}; {}'.format(image['file_name'], *size, *said, remedy)
    )


def _check_id(path: str, node: dict, key: str) -> bool:
    value = as_id(node.get(key))
    if value is None:
        raise TransferError(f'{path}: {key} {node.get(key)!r} is no number: {node!r:.200}')
    return put(node, key, value)


def _check_categories(path: str, content: dict) -> bool:
    for category in content['categories']:
        if 'id' not in category or 'name' not in category:
            raise TransferError(f'{path}: category {category} needs an "id" and a "name".')
        if not isinstance(category['name'], (str, int, float)):
            raise TransferError(
                f'{path}: category {category["id"]} has the name '
                f'{category["name"]!r}; a text is needed.'
            )
    changed = [_check_id(path, category, 'id') for category in content['categories']]
    changed += [_check_id(path, a, 'category_id') for a in content['annotations']]
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
    return any(changed)


def _check_ids(path: str, annotations: list[dict]) -> bool:
    changed = [_check_id(path, annotation, 'id') for annotation in annotations]
    (most, count), *_ = Counter(a['id'] for a in annotations).most_common(1)
    if count > 1:
        raise TransferError(f'{path}: annotation ids are not unique ({most}, {count} times).')
    return any(changed)


def _say_what_counts(content: dict, path: str, verb: str) -> None:
    objects = [a for a in content['annotations'] if not a['iscrowd']]
    empty = len(content['images']) - len({a['image_id'] for a in content['annotations']})
    found = {a['category_id'] for a in objects}
    absent = [str(c['name']) for c in content['categories'] if c['id'] not in found]
    crowds = len(content['annotations']) - len(objects)
    print_log(
        f'{path}: {len(objects)} objects'
        + (f', beside {crowds} crowds that are ignored,' if crowds else '')
        + f' are {verb}; {empty} of {len(content["images"])} images have none'
        + (' and are left out' * (empty > 0 and verb == 'trained'))
        + (f'; no object of {", ".join(absent)}.' if absent else '.'),
        'current',
        logging.WARNING if absent else logging.INFO,
    )


def _write(path: Path, content: dict) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content))  # as every process does
    return str(path)
