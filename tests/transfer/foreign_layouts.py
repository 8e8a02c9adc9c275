"""Procedural scenes in the folder layouts of the papers' data sets.

:func:`write_data_sets` makes a folder that has below ``data/`` what the
benchmark configs expect there: ``coco``, ``cityscapes``, ``VOCdevkit``,
``ade`` and ``imagenet``, a few tiny images each.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np

from dense_ssl.scenes import Scene, render_scene

# What the six kinds of objects are called in each data set, in their order.
COCO = ('person', 'car', 'truck', 'bus', 'bird', 'bicycle')
VOC = ('aeroplane', 'car', 'bird', 'boat', 'bottle', 'bicycle')
CITYSCAPES = ('person', 'car', 'truck', 'bus', 'rider', 'bicycle')
# All of a data set's classes must be in its annotation files.
CITYSCAPES_IDS = dict(
    person=24, rider=25, car=26, truck=27, bus=28, train=31, motorcycle=32, bicycle=33
)


def write_data_sets(folder: Path, train: int = 4, val: int = 2, size: int = 64) -> Path:
    """Write all of them from the same scenes; returns ``folder``."""
    scenes = {
        split: find_scenes(count, 100 * index, size)
        for index, (split, count) in enumerate((('train', train), ('val', val)))
    }
    data = folder / 'data'
    write_coco(data / 'coco', scenes)
    write_cityscapes(data / 'cityscapes', scenes)
    write_voc(data / 'VOCdevkit', scenes)
    write_ade(data / 'ade' / 'ADEChallengeData2016', scenes)
    write_imagenet(data / 'imagenet', scenes)
    return folder


def find_scenes(count: int, seed: int, size: int) -> list[Scene]:
    """Scenes with two objects or more."""
    found = []
    while len(found) < count:
        scene = render_scene([seed], size)
        if len(scene.instances) > 1:
            found.append(scene)
        seed += 1
    return found


def box_of(mask: np.ndarray) -> list[int]:
    """x, y, width, height of a mask, in pixels."""
    return list(cv2.boundingRect(mask.astype(np.uint8)))


def write_coco(root: Path, scenes: dict[str, list[Scene]]) -> None:
    """The layout of COCO 2017; nothing without mmdet, which has its names."""
    try:
        from mmdet.datasets import CocoDataset
    except ImportError:
        return
    for split, some in scenes.items():
        names = [f'{i:012d}.jpg' for i in range(len(some))]
        for name, scene in zip(names, some):
            mmcv.imwrite(scene.image, str(root / f'{split}2017' / name))
        _write_json(
            root / 'annotations' / f'instances_{split}2017.json',
            _instances(some, names, COCO, CocoDataset.METAINFO['classes']),
        )


def write_cityscapes(root: Path, scenes: dict[str, list[Scene]]) -> None:
    """Images, train ids, instance ids, and mmdet's converted instances."""
    for split, some in scenes.items():
        names = [f'town/town_{i:06d}_000019' for i in range(len(some))]
        for name, scene in zip(names, some):
            ids = np.zeros(scene.semantic.shape, np.uint16)
            for index, instance in enumerate(scene.instances):
                label = CITYSCAPES_IDS[CITYSCAPES[instance.label]]
                ids[instance.mask] = 1000 * label + index
            for folder, ending, pixels in (
                ('leftImg8bit', 'leftImg8bit', scene.image),
                ('gtFine', 'gtFine_labelTrainIds', scene.semantic),
                ('gtFine', 'gtFine_instanceIds', ids),
            ):
                mmcv.imwrite(pixels, str(root / folder / split / f'{name}_{ending}.png'))
        _write_json(
            root / 'annotations' / f'instancesonly_filtered_gtFine_{split}.json',
            _instances(
                some, [f'{n}_leftImg8bit.png' for n in names], CITYSCAPES, list(CITYSCAPES_IDS)
            ),
        )


def write_voc(root: Path, scenes: dict[str, list[Scene]]) -> None:
    """VOC2007 (trainval, test) and VOC2012 with the augmented label maps.

    The last object of every image is marked difficult.
    """
    for year, splits in (
        (2007, dict(trainval='train', test='val')),
        (2012, dict(trainval='train')),
    ):
        for split, source in splits.items():
            names = []
            for i, scene in enumerate(scenes[source]):
                names.append(f'{year}_{source}_{i:06d}')
                base = root / f'VOC{year}'
                mmcv.imwrite(scene.image, str(base / f'JPEGImages/{names[-1]}.jpg'))
                _write_text(base / f'Annotations/{names[-1]}.xml', _voc_annotation(scene))
            _write_lines(base / f'ImageSets/Main/{split}.txt', names)
    base = root / 'VOC2012'
    for folder, splits in (
        ('SegmentationClass', ('train', 'val')),
        ('SegmentationClassAug', ('aug',)),
    ):
        for split in splits:
            names = []
            for i, scene in enumerate(scenes['val' if split == 'val' else 'train']):
                names.append(f'2012_{split}_{i:06d}')
                labels = np.zeros(scene.semantic.shape, np.uint8)
                for instance in scene.instances:
                    labels[instance.mask] = instance.label + 1
                mmcv.imwrite(scene.image, str(base / f'JPEGImages/{names[-1]}.jpg'))
                mmcv.imwrite(labels, str(base / folder / f'{names[-1]}.png'))
            _write_lines(base / f'ImageSets/Segmentation/{split}.txt', names)


def write_ade(root: Path, scenes: dict[str, list[Scene]]) -> None:
    """Label maps count from 1; 0 is "no class"."""
    for split, folder in (('train', 'training'), ('val', 'validation')):
        for i, scene in enumerate(scenes[split]):
            name = f'ADE_{split}_{i:08d}'
            labels = np.where(scene.semantic == 255, 0, scene.semantic + 1)
            mmcv.imwrite(scene.image, str(root / 'images' / folder / f'{name}.jpg'))
            mmcv.imwrite(
                labels.astype(np.uint8), str(root / 'annotations' / folder / f'{name}.png')
            )


def write_imagenet(root: Path, scenes: dict[str, list[Scene]]) -> None:
    """Lists of files, so that not every one of 1000 folders must exist."""
    for split, some in scenes.items():
        lines = []
        for i, scene in enumerate(some):
            mmcv.imwrite(scene.image, str(root / split / f'{i}.JPEG'))
            lines.append(f'{i}.JPEG {scene.instances[0].label}')
        _write_lines(root / 'meta' / f'{split}.txt', lines)


def _instances(
    scenes: list[Scene], names: list[str], used: Sequence[str], classes: Sequence[str]
) -> dict:
    """A COCO instances file; masks are polygons of their outline.

    Args:
        used: Names of the six kinds of objects.
        classes: All names of the data set.
    """
    annotations = []
    for image, scene in enumerate(scenes):
        for instance in scene.instances:
            outlines, _ = cv2.findContours(
                instance.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image,
                    category_id=classes.index(used[instance.label]) + 1,
                    bbox=box_of(instance.mask),
                    area=int(instance.mask.sum()),
                    iscrowd=0,
                    segmentation=[
                        outline.flatten().tolist() for outline in outlines if len(outline) > 2
                    ],
                )
            )
    height, width = scenes[0].image.shape[:2]
    return dict(
        images=[
            dict(id=i, file_name=name, height=height, width=width) for i, name in enumerate(names)
        ],
        annotations=annotations,
        categories=[dict(id=i + 1, name=n) for i, n in enumerate(classes)],
    )


def _voc_annotation(scene: Scene) -> str:
    height, width = scene.image.shape[:2]
    objects = []
    for index, instance in enumerate(scene.instances):
        x, y, w, h = box_of(instance.mask)
        difficult = int(index == len(scene.instances) - 1)
        # Pixels count from 1, the last one included.
        objects.append(
            f'<object><name>{VOC[instance.label]}</name>'
            f'<difficult>{difficult}</difficult><bndbox>'
            f'<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>'
            f'<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>'
        )
    return (
        f'<annotation><size><width>{width}</width><height>{height}'
        f'</height><depth>3</depth></size>{"".join(objects)}'
        '</annotation>'
    )


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _write_lines(path: Path, lines: list[str]) -> None:
    _write_text(path, '\n'.join(lines) + '\n')


def _write_json(path: Path, content: dict) -> None:
    _write_text(path, json.dumps(content))
