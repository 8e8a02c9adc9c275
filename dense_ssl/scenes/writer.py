"""Write the procedural scenes to disk in the layouts real data come in."""

import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as mask_utils

from dense_ssl.errors import UserError

from .classes import THINGS, coco_categories
from .render import render_scene

__all__ = ['write_scenes', 'MANIFEST']

MANIFEST = 'manifest.json'
# raised whenever the same parameters would give other pixels or files
FORMAT_VERSION = 2
SPLITS = ('unlabelled', 'train', 'val', 'by_class_train', 'by_class_val')
FOLDERS = ('unlabelled', 'images', 'annotations', 'cityscapes', 'by_class')
PER_FOLDER = 250  # unlabelled images a sub-folder
CITY = 'scenes'


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that it is there completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + '.part')
    part.write_bytes(data)
    os.replace(part, path)


def _encode(suffix: str, image: np.ndarray) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix == '.jpg' else []
    done, data = cv2.imencode(suffix, image, quality)
    if not done:
        raise RuntimeError(f'cv2 could not encode a {suffix} image')
    return data.tobytes()


def _json(data) -> bytes:
    return json.dumps(data, indent=1).encode()


def _seed(seed: int, split: str, index: int) -> list:
    return [seed, SPLITS.index(split), index]


def _write_unlabelled(index: int, root: Path, size: int, seed: int, grey: bool) -> None:
    path = root / 'unlabelled' / f'part_{index // PER_FOLDER:03d}' / f'{index:06d}.jpg'
    if not path.exists():
        scene = render_scene(_seed(seed, 'unlabelled', index), size, grey=grey)
        _replace(path, _encode('.jpg', scene.image))


def _write_labelled(
    index: int, root: Path, size: int, seed: int, grey: bool, split: str
) -> list[dict]:
    """Write the files of one labelled scene; its COCO annotations."""
    scene = render_scene(_seed(seed, split, index), size, grey=grey)
    name = f'{CITY}_{index:06d}_000000'
    cityscapes = root / 'cityscapes'
    outputs = {
        root / 'images' / split / f'{index:06d}.jpg': scene.image,
        cityscapes / 'leftImg8bit' / split / CITY / f'{name}_leftImg8bit.png': scene.image,
        cityscapes / 'gtFine' / split / CITY / f'{name}_gtFine_labelTrainIds.png': scene.semantic,
    }
    for path, image in outputs.items():
        if not path.exists():
            _replace(path, _encode(path.suffix, image))
    annotations = []
    for instance in scene.instances:
        rle = mask_utils.encode(np.asfortranarray(instance.mask.astype(np.uint8)))
        annotations.append(
            dict(
                image_id=index + 1,
                category_id=instance.label + 1,
                bbox=[float(x) for x in mask_utils.toBbox(rle)],
                area=float(mask_utils.area(rle)),
                iscrowd=0,
                segmentation=dict(
                    size=[int(x) for x in rle['size']], counts=rle['counts'].decode()
                ),
            )
        )
    return annotations


def _write_by_class(index: int, root: Path, size: int, seed: int, grey: bool, split: str) -> None:
    """One object in one square crop, in the folder of its class."""
    label = index % len(THINGS)
    path = root / 'by_class' / split / THINGS[label].name / f'{index:06d}.jpg'
    if path.exists():
        return
    attempt = 0
    while True:  # an object may fall outside; then take the next pose
        scene = render_scene(
            _seed(seed, f'by_class_{split}', index) + [attempt],
            size,
            [label],
            radius_range=(0.2, 0.4),
            grey=grey,
        )
        if scene.instances and scene.instances[0].mask.sum() > 0.05 * size**2:
            break
        attempt += 1
    x, y, w, h = cv2.boundingRect(scene.instances[0].mask.astype(np.uint8))
    side = min(size, round(1.2 * max(w, h)))
    left = int(np.clip(x + (w - side) // 2, 0, size - side))
    top = int(np.clip(y + (h - side) // 2, 0, size - side))
    crop = scene.image[top : top + side, left : left + side]
    _replace(path, _encode('.jpg', cv2.resize(crop, (size, size))))


def _coco_file(annotations: list[list[dict]], size: int) -> dict:
    flat = [a for of_image in annotations for a in of_image]
    return dict(
        info=dict(description='procedural scenes made by dense_ssl'),
        licenses=[],
        categories=coco_categories(),
        images=[
            dict(id=i + 1, file_name=f'{i:06d}.jpg', width=size, height=size)
            for i in range(len(annotations))
        ],
        annotations=[dict(id=i + 1, **a) for i, a in enumerate(flat)],
    )


def _single_thread() -> None:
    cv2.setNumThreads(0)


def _map(function, count: int, workers: int) -> list:
    if workers <= 1 or count < 64:
        return [function(i) for i in range(count)]
    with ProcessPoolExecutor(workers, initializer=_single_thread) as pool:
        return list(pool.map(function, range(count), chunksize=32))


def _count_files(root: Path) -> int:
    """Finished files in the folders of a data set."""
    return sum(
        path.is_file() and path.suffix != '.part'
        for name in FOLDERS
        for path in (root / name).rglob('*')
    )


def _prepare(root: Path, manifest: dict) -> bool:
    """Make ``root`` ready to be filled; True if nothing is left to do."""
    path = root / MANIFEST
    if path.exists():
        try:
            old = json.loads(path.read_text())
        except json.JSONDecodeError:
            old = {}
        complete = old.pop('complete', False)
        if old == manifest:
            return complete and _count_files(root) == manifest['files']
        for name in FOLDERS:
            shutil.rmtree(root / name, ignore_errors=True)
    elif root.exists() and any(root.iterdir()):
        raise UserError(
            f'{root} is not empty and holds no {MANIFEST} of a scenes data '
            'set; choose another folder, or empty this one first'
        )
    return False


def write_scenes(
    root,
    num_unlabelled: int = 640,
    num_train: int = 128,
    num_val: int = 32,
    size: int = 128,
    seed: int = 0,
    num_by_class: int = 0,
    workers: int = 1,
    grey: bool = False,
) -> Path:
    """Write a procedural data set, or complete one that was interrupted.

    Layout under ``root``::

        unlabelled/part_000/000000.jpg ...            for pre-training
        images/{train,val}/000000.jpg                 COCO layout
        annotations/instances_{train,val}.json        masks as RLE
        cityscapes/leftImg8bit/{train,val}/scenes/scenes_..._leftImg8bit.png
        cityscapes/gtFine/{train,val}/scenes/..._gtFine_labelTrainIds.png
        by_class/{train,val}/CLASS/000000.jpg         if ``num_by_class``
        manifest.json                                 the parameters

    Equal parameters give equal files. A finished data set with the same
    parameters is left as it is, an unfinished one is completed, one with
    other parameters is rebuilt.

    Args:
        root: Folder to write to; made if missing.
        num_unlabelled: Images without labels.
        num_train: Labelled training images.
        num_val: Labelled validation images.
        size: Side of the square images in pixels, at least 32.
        seed: Seed of the whole data set, not negative.
        num_by_class: Training crops per class (and a quarter as many for
            validation) of the class-per-folder export.
        workers: Processes to render with.
        grey: See :func:`render_scene`.

    Returns:
        Path: ``root``.

    Raises:
        UserError: If ``root`` holds other things than such a data set.
        UserError: If ``size`` is below 32 or a number is negative.
    """
    numbers = dict(
        num_unlabelled=num_unlabelled,
        num_train=num_train,
        num_val=num_val,
        num_by_class=num_by_class,
        seed=seed,
    )
    for name, value in numbers.items():
        if value < 0:
            raise UserError(f'{name} must not be negative, got {value}')
    if size < 32:
        raise UserError(f'scenes need a size of at least 32 px, got {size}')

    root = Path(root)
    by_class = dict(train=num_by_class * len(THINGS), val=-(-num_by_class // 4) * len(THINGS))
    files = num_unlabelled + 3 * (num_train + num_val) + 2 + sum(by_class.values())
    manifest = dict(version=FORMAT_VERSION, size=size, files=files, **numbers)
    if grey:
        manifest['grey'] = True
    if _prepare(root, manifest):
        return root
    _replace(root / MANIFEST, _json(dict(manifest, complete=False)))

    common = dict(root=root, size=size, seed=seed, grey=grey)
    _map(partial(_write_unlabelled, **common), num_unlabelled, workers)
    for split, count in (('train', num_train), ('val', num_val)):
        annotations = _map(partial(_write_labelled, split=split, **common), count, workers)
        _replace(
            root / 'annotations' / f'instances_{split}.json', _json(_coco_file(annotations, size))
        )
    for split, count in by_class.items():
        _map(partial(_write_by_class, split=split, **common), count, workers)
    _replace(root / MANIFEST, _json(dict(manifest, complete=True)))
    return root
