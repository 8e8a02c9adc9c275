"""Configs of other shapes than ours: classes as types, data sets that repeat and join others."""

import json

import numpy as np
import pytest
from mmengine.config import Config
from mmpretrain.models import ResNet
from PIL import Image

from dense_ssl.cli import flags
from dense_ssl.cli.arguments import train_parser
from dense_ssl.cli.build import build_config
from dense_ssl.cli.channels import set_channels
from dense_ssl.cli.config import load_config
from dense_ssl.datasets import UnlabeledImages
from dense_ssl.datasets.transforms import (
    GeometricMultiView,
    LoadRGBImage,
    RandomColor,
    RandomFlipWithBox,
    RandomResizedCropWithBox,
)
from dense_ssl.engine.device_color import place_colors
from dense_ssl.engine.hooks.fit_check_hook import _check_levels, _parts
from dense_ssl.errors import UserError
from dense_ssl.models import DenseCL, DenseDataPreprocessor

from ..finetune.test_benchmark_configs import DETECTION, SEGMENTATION, options
from ..finetune.tiny_data import write_coco, write_segmentation
from .test_channels import PRESET

NEW_STYLE = """
from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmpretrain.models import ResNet
from dense_ssl.datasets import UnlabeledImages
from dense_ssl.models import DenseCL

with read_base():
    from .base import *

model = dict(type=DenseCL, backbone=dict(type=ResNet, depth=18))
train_dataloader = dict(sampler=dict(type=DefaultSampler), dataset=dict(type=UnlabeledImages))
"""


def classes(dataset=None) -> Config:
    """A pre-training config that names classes."""
    views = [
        dict(type=RandomResizedCropWithBox),
        dict(type=RandomColor, hue=0.1, saturation=0.4, brightness=0.4),
        dict(type=RandomFlipWithBox),
    ]
    source = dict(
        type=UnlabeledImages,
        data_root='x',
        pipeline=[
            dict(type=LoadRGBImage),
            dict(type=GeometricMultiView, num_views=[2], view_size=224, transforms=[views]),
        ],
    )
    return Config(
        dict(
            default_scope='dense_ssl',
            model=dict(type=DenseCL, backbone=dict(type=ResNet, depth=18)),
            data_preprocessor=dict(type=DenseDataPreprocessor),
            train_dataloader=dict(dataset=dataset(source) if dataset else source),
            white_level=4095,
            visualizer=dict(vis_backends=[dict(type='LocalVisBackend')]),
        )
    )


def repeated(source):
    return dict(type='RepeatDataset', times=3, dataset=source)


def joined(source):
    return dict(type='ConcatDataset', datasets=[source, repeated(dict(source, data_root='y'))])


@pytest.mark.parametrize('shape', [None, repeated, joined])
def test_every_option_reaches_classes_at_any_depth(shape):
    cfg = classes(shape)
    flags.set_view_size(cfg, 64)
    flags.set_white_level(cfg)
    cfg.speed = dict(colors='device')
    place_colors(cfg)
    set_channels(cfg, 5)
    sources = flags._sources(cfg)
    assert len(sources) == (2 if shape is joined else 1)
    for source in sources:
        load, views = source.pipeline
        assert source.white_level == 4095 and views.view_size == 64 and load.channels == 5
        color = views.transforms[0][1]
        assert color.on_device and color.hue == color.saturation == color.grayscale_prob == 0


def test_data_of_joined_sets_is_said_to_be_unclear():
    with pytest.raises(UserError, match='joins 2 data sets.*--data a b'):
        flags.set_data(classes(joined), 'a')
    cfg = classes(repeated)
    flags.set_data(cfg, ['a', 'b'])
    assert cfg.train_dataloader.dataset.dataset.data_root == ['a', 'b']


def test_a_file_that_names_classes(tmp_path):
    (tmp_path / 'base.py').write_text('lr = 1\n')
    (tmp_path / 'config.py').write_text(NEW_STYLE)
    cfg = load_config(str(tmp_path / 'config.py'))
    assert cfg.default_scope == 'dense_ssl' and cfg.model.type is DenseCL
    flags.set_data(cfg, ['a', 'b'])
    assert cfg.train_dataloader.dataset.data_root == ['a', 'b']


def test_parts_of_joined_data_are_looked_at(tmp_path):
    """One white level for all, and files counted once however often they are repeated."""
    from mmengine.dataset import ConcatDataset, RepeatDataset

    for name, high in (('a', 1000), ('b', 4000)):
        (tmp_path / name).mkdir()
        values = np.linspace(0, high, 64, dtype=np.uint16).reshape(8, 8)
        Image.fromarray(values).save(tmp_path / name / 'x.png')
    a, b = (
        UnlabeledImages(str(tmp_path / name), pipeline=[dict(type='LoadRGBImage')]) for name in 'ab'
    )
    assert _parts(ConcatDataset([a, b, a])) == [a, b]
    assert _parts(RepeatDataset(a, 3)) == [a]
    with pytest.raises(UserError, match='1023.*4095.*white_level'):
        _check_levels([a, b])
    _check_levels([a, a])


def named(preset, tmp_path, text):
    (tmp_path / 'own.py').write_text(f"_base_ = '{preset}'\n{text}")
    return build_config(options(tmp_path / 'own.py', tmp_path))


def coco(tmp_path, change):
    ann, images = write_coco(tmp_path)
    content = json.loads(ann.read_text())
    change(content)
    ann.write_text(json.dumps(content))
    data = f"data_root={str(tmp_path)!r}, ann_file='instances.json', data_prefix=dict(img='images')"
    own = f"dict(dataset=dict({data}, metainfo=dict(classes=('square', 'disc'))))"
    return ''.join(f'{split}_dataloader = {own}\n' for split in ('train', 'val', 'test')) + ''.join(
        f'{split}_evaluator = dict(ann_file={str(ann)!r})\n' for split in ('val', 'test')
    )


def test_annotations_that_a_config_names_are_checked(tmp_path):
    pytest.importorskip('mmdet')

    def fractions(content):
        for annotation in content['annotations']:
            annotation['bbox'] = [0.1, 0.1, 0.5, 0.5]

    with pytest.raises(UserError, match='instances.json'):
        named(DETECTION, tmp_path, coco(tmp_path, fractions))


def test_annotations_that_a_config_names_are_mended_in_a_copy(tmp_path):
    pytest.importorskip('mmdet')

    def from_zero(content):
        for annotation in content['annotations']:
            annotation['id'] -= 1

    cfg = named(DETECTION, tmp_path, coco(tmp_path, from_zero))
    copies = {cfg[f'{split}_dataloader'].dataset.ann_file for split in ('train', 'val', 'test')}
    assert copies == {cfg.val_evaluator.ann_file, cfg.test_evaluator.ann_file}
    (copy,) = copies
    assert copy.startswith(str(tmp_path / 'work/annotations'))
    with open(copy) as file:
        assert min(a['id'] for a in json.load(file)['annotations']) == 1


@pytest.mark.parametrize('values,said', [((0, 255), 'holds the class'), ((0, 77), 'index 77')])
def test_label_maps_that_a_config_names_are_checked(tmp_path, values, said):
    pytest.importorskip('mmseg')
    write_segmentation(tmp_path, cityscapes=True, classes=19)
    named(SEGMENTATION, tmp_path, moved(tmp_path))
    for path in tmp_path.glob('gtFine/val/*/*.png'):
        labels = np.array(Image.open(path))
        labels = np.where(labels > 9, values[1], values[0]).astype(np.uint8)
        Image.fromarray(labels).save(path)
    with pytest.raises(UserError, match=said):
        named(SEGMENTATION, tmp_path, moved(tmp_path))


def moved(tmp_path):
    own = f'dict(dataset=dict(data_root={str(tmp_path)!r}))'
    return ''.join(f'{split}_dataloader = {own}\n' for split in ('train', 'val', 'test'))


def test_pre_training_looks_for_no_labels(tmp_path):
    args = train_parser().parse_args([str(PRESET), '--work-dir', str(tmp_path), '--data', 'absent'])
    assert build_config(args).train_dataloader.dataset.data_root == 'absent'
