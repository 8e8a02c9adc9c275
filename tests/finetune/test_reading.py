"""Fine-tuning reads the pixels that pre-training reads."""

import json

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import TRANSFORMS, init_default_scope
from PIL import Image

from dense_ssl.datasets import read_rgb
from dense_ssl.errors import TransferError
from dense_ssl.finetune.reading import read_alike


def coco(tmp_path, pixels, name='a.tif', size=None, **save):
    Image.fromarray(pixels).save(tmp_path / name, **save)
    height, width = pixels.shape[:2]
    size = size or (width, height)
    annotation = dict(id=1, image_id=1, category_id=1, bbox=[1, 1, 5, 5], area=25, iscrowd=0)
    content = dict(
        images=[dict(id=1, file_name=name, width=size[0], height=size[1])],
        annotations=[annotation],
        categories=[dict(id=1, name='thing')],
    )
    (tmp_path / 'a.json').write_text(json.dumps(content))
    data = dict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='a.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=('thing',)),
        pipeline=[dict(type='LoadImageFromFile', backend_args=None)],
    )
    train = dict(type='RepeatDataset', times=2, dataset=data)
    return Config(
        dict(
            default_scope='mmdet',
            train_dataloader=dict(dataset=train),
            val_dataloader=dict(dataset=data),
            test_dataloader=dict(dataset=data),
        )
    )


WIDE = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60)  # 12 bits


@pytest.mark.parametrize('pixels', [WIDE, WIDE.astype(np.int32) - 900, WIDE / np.float32(4e3)])
def test_every_split_sees_the_same(tmp_path, pixels):
    cfg = coco(tmp_path, pixels)
    read_alike(cfg, 'train', 'val')
    loaders = [cfg.train_dataloader.dataset, cfg.val_dataloader, cfg.test_dataloader]
    steps = [loader.dataset.pipeline[0] for loader in loaders]
    assert steps[0] == steps[1] == steps[2]
    init_default_scope('mmdet')
    result = TRANSFORMS.build(steps[0])(dict(img_path=str(tmp_path / 'a.tif')))
    levels = {k: tuple(v) for k, v in steps[0].white_level.items()}
    assert (result['img'][..., ::-1] == read_rgb(str(tmp_path / 'a.tif'), levels)).all()
    assert len(np.unique(result['img'])) > 128
    assert result['img_shape'] == result['ori_shape'] == (40, 60)


def test_bgr_as_mmcv_gives_it(tmp_path):
    colors = np.zeros((40, 60, 3), np.uint8)
    colors[..., 0] = 200
    cfg = coco(tmp_path, colors, 'a.png')
    read_alike(cfg, 'test')
    init_default_scope('mmdet')
    step = TRANSFORMS.build(cfg.test_dataloader.dataset.pipeline[0])
    assert (step(dict(img_path=str(tmp_path / 'a.png')))['img'] == colors[..., ::-1]).all()


def test_broken_images_are_named(tmp_path):
    cfg = coco(tmp_path, WIDE)
    (tmp_path / 'a.tif').write_bytes(b'')
    with pytest.raises(TransferError, match=r'(?s)train: 1 of 1.*a\.tif.*empty'):
        read_alike(cfg, 'train', 'val')


def test_sizes_are_those_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    colors = np.zeros((40, 60, 3), np.uint8)
    read_alike(coco(tmp_path, colors, 'a.jpg', size=(40, 60), exif=exif), 'train')
    with pytest.raises(TransferError, match=r'a\.jpg: 40 x 60, not 60 x 40'):
        read_alike(coco(tmp_path, colors, 'a.jpg', exif=exif), 'train')
