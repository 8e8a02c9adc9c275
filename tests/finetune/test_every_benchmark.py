"""Every benchmark config takes a step and validates on its own data layout.

Shrunk by the options that users have, and with ``data_root`` moved to
procedural scenes; classes, data sets, heads and metrics are the config's own.
"""

import math

import pytest
import torch

from dense_ssl.config_tree import dicts

from ..transfer.foreign_layouts import write_data_sets
from ..transfer.small_models import prefixed, resnet
from .test_benchmark_configs import CONFIGS, options

ALL = sorted(path for path in CONFIGS.glob('*/*.py') if path.parent.name != '_base_')
PACKAGES = dict(mmdetection='mmdet', mmsegmentation='mmseg', mmpretrain='mmpretrain')
#: What each metric must report.
FIGURES = dict(
    CityScapesMetric=lambda metric: ['cityscapes/mAP'],
    CocoMetric=lambda metric: [f'coco/{kind}_mAP' for kind in metric],
    VOCDetectionMetric=lambda metric: [f'pascal_voc/{name}' for name in ('AP', 'AP50', 'AP75')],
    IoUMetric=lambda metric: ['mIoU', 'aAcc'],
    Accuracy=lambda metric: ['accuracy/top1', 'accuracy/top5'],
)
NARROW = dict(base_channels=8, stem_channels=8)  # instead of 64


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data_sets(tmp_path_factory.mktemp('data_sets'))


@pytest.fixture(scope='module')
def backbone(tmp_path_factory):
    """Path of a checkpoint with a config's ResNet, written once."""
    folder = tmp_path_factory.mktemp('checkpoints')

    def path(cfg):
        widths = {key: value for key, value in cfg.model.backbone.items() if key in NARROW}
        file = folder / f'resnet{cfg.model.backbone.depth}{"-narrow" * bool(widths)}.pth'
        if not file.is_file():
            weights = prefixed('backbone.', resnet(cfg.model.backbone.depth, **widths).state_dict())
            torch.save(dict(state_dict=weights), file)
        return file

    return path


def shrunk(path, tmp_path, data):
    """The config as users shrink it; R101 keeps its depth."""
    from dense_ssl.cli.build import build_config
    from dense_ssl.cli.config import load_config

    pytest.importorskip(PACKAGES[path.parent.name])
    given = load_config(str(path))
    root = given.get('data_root') or given.train_dataloader.dataset.data_root
    depth = given.model.backbone.depth
    if path.parent.name == 'mmpretrain':
        kwargs = dict(iters=None, epochs=1)
    else:
        kwargs = dict(scale=(64, 64))
    if path.parent.name == 'mmsegmentation':
        kwargs['crop'] = (64, 64)
    changes = {
        '+experiment_name': tmp_path.name,
        'data_root': str(data / root),
        '+default_hooks.checkpoint.save_optimizer': False,
    }
    if given.model.get('roi_head'):  # fewer regions of interest
        changes.update(
            {'model.train_cfg.rcnn.sampler.num': 16, 'model.test_cfg.rpn.max_per_img': 20}
        )
    cfg = build_config(
        options(
            path, tmp_path, small_depth=18 if depth == 50 else depth, cfg_options=changes, **kwargs
        )
    )
    if not cfg.model.get('roi_head', {}).get('shared_head'):  # mmdet's knows one width
        cfg.model.backbone.update(NARROW)
        for part in dicts(cfg.model):
            for key in ('in_channels', 'out_channels'):
                part.update({key: narrow(part[key])} if key in part else {})
    return given, cfg


def narrow(channels):
    """Of a narrow backbone; --small leaves no others of that size."""
    if isinstance(channels, (list, tuple)):
        return [narrow(each) for each in channels]
    return channels // 8 if channels >= 64 else channels


def heads(cfg):
    """Types of data sets and numbers of classes, which must be kept."""
    classes = [node['num_classes'] for node in dicts(cfg.model) if node.get('num_classes')]
    sets = [
        node['type']
        for split in ('train', 'val')
        for node in dicts(cfg[f'{split}_dataloader'].dataset)
        if 'Dataset' in str(node.get('type'))
    ]
    return classes, sets


def expected_figures(cfg):
    evaluators = cfg.val_evaluator
    if not isinstance(evaluators, list):
        evaluators = [evaluators]
    for evaluator in evaluators:
        kinds = evaluator.get('metric', ())
        yield from FIGURES[evaluator.type.split('.')[-1]](
            [kinds] if isinstance(kinds, str) else kinds
        )


def test_there_are_configs_for_every_framework():
    assert {path.parent.name for path in ALL} == set(PACKAGES)


@pytest.mark.parametrize('path', ALL, ids=lambda path: path.stem)
def test_takes_a_step_and_validates(path, tmp_path, data, backbone):
    given, cfg = shrunk(path, tmp_path, data)
    assert heads(cfg) == heads(given)
    from dense_ssl.finetune import fine_tune

    checkpoint = backbone(cfg)
    metrics = fine_tune(cfg, str(checkpoint), strict_recipe=True)
    for name in expected_figures(cfg):
        assert math.isfinite(metrics[name]), name
    (saved,) = (tmp_path / 'work').glob('*_1.pth')
    after = torch.load(saved, weights_only=False)['state_dict']
    before = torch.load(checkpoint)['state_dict']
    if path.stem.startswith('linear'):  # frozen, statistics too
        for key, value in before.items():
            assert torch.equal(after[key], value), key
        return
    norms = stages = 0
    for key, value in before.items():
        if key not in after:
            key = f'roi_head.shared_head.{key.partition(".")[2]}'
        if key.endswith('num_batches_tracked'):
            assert after[key] == 1, key
            norms += 1
        elif key.endswith('conv1.weight'):
            assert not torch.equal(after[key], value), key
            stages += 1
    assert norms >= 20 and stages >= 9
