"""Parts of the labels: nested, drawn by seed, the same for every start; and a split held out."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import numpy as np

from dense_ssl.datasets.image_listing import EXTENSIONS
from dense_ssl.errors import MissingFile, UserError
from dense_ssl.files import write_atomically
from dense_ssl.finetune.data.coco import HOLD_OUT, hold_out, read_annotations
from dense_ssl.finetune.data.label_maps import LAYOUTS

__all__ = ['CocoLabels', 'SegmentationLabels', 'chosen']


def chosen(number: int, part: float, seed: int) -> list[int]:
    """Indices of a part of the labelled images, in order, one at least.

    With the same seed a smaller part lies inside a larger one.
    """
    order = np.random.default_rng(seed).permutation(number)
    return sorted(order[: max(1, round(part * number))].tolist())


@dataclass
class SegmentationLabels:
    """Images with label maps, in a layout of mmseg's.

    Attributes:
        root: Has the layout; ``val`` may be absent, then every fifth image is held out.
        classes: As ``--seg-classes`` takes them, or None.
        folder: Where parts are laid out, as links.
        notes: What a reader of the results should know.
    """

    root: Path
    classes: Optional[str]
    folder: Path
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise MissingFile(f'--seg-data {self.root} does not exist.')
        for images, maps, image_suffix, map_suffix in LAYOUTS:
            if all((self.root / name / 'train').is_dir() for name in (images, maps)):
                self.names, self.suffixes = (images, maps), (image_suffix, map_suffix)
                break
        else:
            raise UserError(
                f'--seg-data {self.root} has neither img_dir/train with ann_dir/train nor '
                'leftImg8bit/train with gtFine/train.'
            )
        self.train = self._pairs('train')
        self.has_val = all((self.root / name / 'val').is_dir() for name in self.names)
        self.val = self._pairs('val') if self.has_val else self.train[::HOLD_OUT]
        if not self.has_val:
            self.train = [pair for pair in self.train if pair not in self.val]
            if not self.train:
                raise UserError(f'{self.root} has one image: none is left to train on.')
            self.notes.append(
                f'{self.root} has no val: {len(self.val)} images, every fifth, are held out to '
                f'validate on, {len(self.train)} are trained on.'
            )

    def _pairs(self, split: str) -> list[tuple[Path, Path]]:
        """Paths of images and label maps, relative to ``img_dir/split`` and ``ann_dir/split``."""
        folder, maps = (self.root / name / split for name in self.names)
        suffixes = (self.suffixes[0],) if self.suffixes[0] else EXTENSIONS
        pairs = []
        for image in sorted(folder.rglob('*')):
            name = os.fspath(image.relative_to(folder))
            suffix = next((s for s in suffixes if name.lower().endswith(s.lower())), None)
            if suffix and not image.name.startswith('.'):
                label = Path(name[: -len(suffix)] + self.suffixes[1])
                pairs.append((Path(name), label))
        absent = [label for _, label in pairs if not (maps / label).is_file()]
        if not pairs or absent:
            raise UserError(
                f'{folder} has no image.'
                if not pairs
                else f'{len(absent)} of {len(pairs)} images in {folder} have no label map, e.g. '
                f'{maps / absent[0]} is missing: are these the labels of other images?'
            )
        return pairs

    def part(self, part: float, seed: int) -> Path:
        """The folder to give as ``--seg-data``."""
        if part == 1 and self.has_val:
            return self.root
        target = self.folder / ('segmentation-1.0' if part == 1 else f'segmentation-{part}-{seed}')
        if target.is_dir():
            return target
        making = target.with_name(f'.{target.name}.part')
        shutil.rmtree(making, ignore_errors=True)
        train = [self.train[i] for i in chosen(len(self.train), part, seed)]
        for split, pairs in (('train', train), ('val', self.val)):
            source = split if self.has_val else 'train'
            for pair in pairs:
                for name, path in zip(self.names, pair):
                    link = making / name / split / path
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to((self.root / name / source / path).resolve())
        making.rename(target)
        return target

    def images(self, part: float) -> int:
        return len(chosen(len(self.train), part, 0))

    def words(self, part: float, seed: int) -> list[str]:
        """The arguments of the repository's tools."""
        classes = ['--seg-classes', self.classes] if self.classes else []
        return ['--seg-data', os.fspath(self.part(part, seed)), *classes]


@dataclass
class CocoLabels:
    """Objects in COCO's format.

    Attributes:
        ann, images: Annotations to train on, and the folder of their images.
        val_ann, val_images: To validate on; without, every fifth image is held out.
        folder: Where parts are written.
        notes: What a reader of the results should know.
    """

    ann: Path
    images_dir: Path
    val_ann: Optional[Path]
    val_images: Optional[Path]
    folder: Path
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.train, _ = read_annotations(os.fspath(self.ann), os.fspath(self.images_dir))
        if self.val_ann:
            self.val_images = self.val_images or self.images_dir
            self.val, _ = read_annotations(os.fspath(self.val_ann), os.fspath(self.val_images))
        else:
            self.train, self.val = hold_out(self.train)
            self.val_images = self.images_dir
            self.notes.append(
                f'No --coco-val-ann: {len(self.val["images"])} images, every fifth, are held out '
                f'to validate on, {len(self.train["images"])} are trained on.'
            )
        objects = [*self.train['annotations'], *self.val['annotations']]
        self.masks = all(a.get('segmentation') for a in objects)
        if not self.masks:
            self.notes.append('Not every object has a mask: boxes alone are compared.')
            for annotation in objects:  # in every part alike
                annotation['segmentation'] = []
        with_objects = {a['image_id'] for a in self.train['annotations'] if not a['iscrowd']}
        self.labelled = sorted(
            (image for image in self.train['images'] if image['id'] in with_objects),
            key=lambda image: image['file_name'],
        )

    def part(self, part: float, seed: int) -> Path:
        """The annotations of a part of the images that have objects."""
        train = self.labelled
        if part < 1:
            train = [train[i] for i in chosen(len(train), part, seed)]
        name = 'train' if part == 1 else f'train-{part}-{seed}'
        return self._write(f'coco-{name}.json', self.train, train)

    def _write(self, name: str, content: dict, images: Sequence[dict]) -> Path:
        path = self.folder / name
        if not path.is_file():
            ids = {image['id'] for image in images}
            objects = [a for a in content['annotations'] if a['image_id'] in ids]
            path.parent.mkdir(parents=True, exist_ok=True)
            part = {**content, 'images': images, 'annotations': objects}
            write_atomically(path, json.dumps(part))
        return path

    def images(self, part: float) -> int:
        return len(chosen(len(self.labelled), part, 0))

    def words(self, part: float, seed: int) -> list[str]:
        val = self._write('coco-val.json', self.val, self.val['images'])
        words = ['--coco-ann', self.part(part, seed), '--coco-images', self.images_dir]
        words += ['--coco-val-ann', val, '--coco-val-images', self.val_images]
        return list(map(str, words))
