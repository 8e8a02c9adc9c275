"""Tiny data sets in COCO and mmseg layout, written in a few lines."""

import json

import mmcv
import numpy as np


def write_coco(
    folder, images: int = 4, size: int = 64, masks: bool = True, classes=('square', 'disc')
):
    """Images with one bright square each; returns (json, image folder)."""
    rng = np.random.RandomState(0)
    content = dict(
        images=[],
        annotations=[],
        categories=[dict(id=10 + i, name=n) for i, n in enumerate(classes)],
    )
    for i in range(images):
        image = rng.randint(0, 90, (size, size, 3)).astype(np.uint8)
        x, y, w, h = 8 + i, 10, 30, 26
        image[y : y + h, x : x + w] += 150
        mmcv.imwrite(image, str(folder / 'images' / f'{i}.png'))
        content['images'].append(dict(id=i, file_name=f'{i}.png', width=size, height=size))
        annotation = dict(
            id=i + 1, image_id=i, category_id=10 + i % len(classes), bbox=[x, y, w, h]
        )
        if masks:
            annotation['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        content['annotations'].append(annotation)
    path = folder / 'instances.json'
    path.write_text(json.dumps(content))
    return path, folder / 'images'


def write_segmentation(
    folder, images: int = 4, size: int = 64, cityscapes: bool = False, classes: int = 3
):
    """Images whose left half is class 0 and right half the last class, above a row of all."""
    rng = np.random.RandomState(0)
    for split in ('train', 'val'):
        for i in range(images):
            image = rng.randint(0, 255, (size, size, 3)).astype(np.uint8)
            labels = np.zeros((size, size), np.uint8)
            labels[:, size // 2 :] = classes - 1
            labels[0] = 255
            labels[-1] = np.arange(size) % classes
            if cityscapes:
                names = (
                    f'leftImg8bit/{split}/a/{i}_leftImg8bit.png',
                    f'gtFine/{split}/a/{i}_gtFine_labelTrainIds.png',
                )
            else:
                names = (f'img_dir/{split}/{i}.jpg', f'ann_dir/{split}/{i}.png')
            mmcv.imwrite(image, str(folder / names[0]))
            mmcv.imwrite(labels, str(folder / names[1]))
    return folder
