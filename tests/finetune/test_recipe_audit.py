"""No benchmark config contradicts itself or the papers' recipe."""

import copy
from functools import lru_cache
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / 'configs' / 'benchmarks'
ALL = sorted(path for path in CONFIGS.glob('*/*.py') if path.parent.name != '_base_')


def load(path):
    return copy.deepcopy(read(path))


@lru_cache(None)
def read(path):
    import dense_ssl  # noqa: F401  (lets `mmseg::` bases resolve)
    from dense_ssl.cli.config import load_config
    from dense_ssl.finetune.small import make_small

    scope = dict(mmdetection='mmdet', mmsegmentation='mmseg')
    pytest.importorskip(scope.get(path.parent.name, 'mmpretrain'))
    cfg = load_config(str(path))
    make_small(cfg, 16)
    return cfg


def remarks(cfg, **kwargs):
    from dense_ssl.finetune.check import check_transfer

    return check_transfer(cfg, None, **kwargs)[1]


@pytest.mark.parametrize('path', ALL, ids=lambda path: path.stem)
def test_the_recipe_is_right(path):
    cfg = load(path)
    is_probe = path.stem.startswith('linear')
    assert [f for f in remarks(cfg) if f.costs] == []
    assert bool([f for f in remarks(cfg) if 'probe' in f.text]) == is_probe
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'], split
    assert cfg.val_evaluator and cfg.test_evaluator
    assert cfg.val_cfg is not None
    assert cfg.model.backbone.type == 'ResNet'
    if path.parent.name == 'mmpretrain':
        return
    assert cfg.auto_scale_lr.base_batch_size == (
        8 if 'cityscapes' in path.stem and 'd6' not in path.stem else 16
    )
    assert cfg.sync_bn == 'torch'
    assert cfg.train_cfg.type == 'IterBasedTrainLoop'
    assert cfg.train_dataloader.sampler.type == 'InfiniteSampler'
    assert cfg.default_hooks.checkpoint.by_epoch is False
    # The last milestone of a schedule falls within it, and decay ends with it.
    ends = [s.end for s in cfg.param_scheduler]
    assert max(ends) == cfg.train_cfg.max_iters
    assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0


SCHEDULES = {
    'faster-rcnn_r50-c4_24k_voc0712': (24000, [18000, 22000], 100, 1e-4),
    'mask-rcnn_r50_fpn_1x_coco': (90000, [60000, 80000], 1000, 1e-4),
    'mask-rcnn_r50_fpn_wd2.5e-5_2x_coco': (180000, [120000, 160000], 1000, 2.5e-5),
    'mask-rcnn_r50-c4_2x_coco': (180000, [120000, 160000], 1000, 1e-4),
    'mask-rcnn_r50_fpn_24k_cityscapes': (24000, [18000], 1000, 1e-4),
}


@pytest.mark.parametrize('name', SCHEDULES)
def test_detection_schedules(name):
    cfg = load(CONFIGS / 'mmdetection' / f'{name}.py')
    iterations, steps, warm_up, decay = SCHEDULES[name]
    assert cfg.train_cfg.max_iters == iterations
    assert cfg.param_scheduler[0].end == warm_up
    assert cfg.param_scheduler[1].milestones == steps
    assert cfg.optim_wrapper.optimizer.weight_decay == decay
    assert cfg.optim_wrapper.paramwise_cfg.norm_decay_mult == 0
    assert cfg.custom_hooks[0].iterations == 200


def test_voc_detection_is_detectron2s():
    cfg = load(CONFIGS / 'mmdetection' / 'faster-rcnn_r50-c4_24k_voc0712.py')
    assert cfg.model.test_cfg.rpn.max_per_img == 200  # small; 1000 before
    assert cfg.model.train_cfg.rpn.allowed_border == -1
    pipeline = cfg.train_dataloader.dataset.datasets[1].pipeline
    shorts = [min(scale) for scale in pipeline[2].scales]
    assert shorts == list(range(480, 801, 32))
    assert 'VOCWithDifficult' in cfg.train_dataloader.dataset.datasets[0].type
    assert cfg.val_dataloader.dataset.type == 'VOCDataset'
    assert 'VOCDetectionMetric' in cfg.val_evaluator.type
    assert cfg.val_dataloader.dataset.pipeline[1].scale == (1333, 800)


def stock(name):
    from dense_ssl.cli.config import load_config

    pytest.importorskip('mmdet')
    return load_config(name)


@pytest.mark.parametrize(
    'name,words',
    [
        (
            'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
            [
                'stem and 1 stages',
                'backbone keep the statistics',
                'torchvision://',
                'not synchronised',
                'norm layers are decayed',
            ],
        ),
        (
            'mmdet::mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco.py',
            [
                "Caffe's ResNet",
                'BGR',
                'normalised by mean',
                'are not trained',
                'roi_head.shared_head keep',
            ],
        ),
    ],
)
def test_mmdets_own_recipes_are_found_fault_with(name, words):
    import dense_ssl  # noqa: F401

    found = ' '.join(f.text for f in remarks(stock(name)) if f.costs)
    for word in words:
        assert word in found
    alone = ' '.join(f.text for f in remarks(stock(name), distributed=False))
    assert 'not synchronised' not in alone


@pytest.mark.parametrize(
    'change,words',
    [
        (
            {'param_scheduler.1.milestones': [60000, 90000]},
            'drop at iteration 90000, but training ends at 90000',
        ),
        ({'param_scheduler.1.end': 100000}, 'end at iteration 100000'),
        # mmselfsup's trap: a second train_cfg cuts the schedule short.
        (
            {'train_cfg': dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=12)},
            'counts in iterations',
        ),
        ({'val_evaluator': None}, 'val_evaluator is missing'),
        ({'load_from': 'https://x.org/y.pth'}, 'trained already'),
        ({'model.backbone.frozen_stages': 0}, 'stem and 0 stages'),
        ({'sync_bn': None}, 'not synchronised'),
    ],
)
def test_contradictions_are_found(change, words):
    cfg = load(CONFIGS / 'mmdetection' / 'mask-rcnn_r50_fpn_1x_coco.py')
    if 'train_cfg' in change or 'val_evaluator' in change:
        for key, value in change.items():
            cfg[key] = value
    else:
        cfg.merge_from_dict(change)
    assert any(words in f.text and f.costs for f in remarks(cfg))


def test_a_frozen_detector_is_no_probe():
    cfg = load(CONFIGS / 'mmdetection' / 'mask-rcnn_r50_fpn_1x_coco.py')
    cfg.model.backbone.frozen_stages = 4
    assert any('more than a linear probe' in f.text and f.costs for f in remarks(cfg))


def test_one_scheduler_without_a_list():
    cfg = load(CONFIGS / 'mmdetection' / 'mask-rcnn_r50_fpn_1x_coco.py')
    cfg.param_scheduler = cfg.param_scheduler[1]
    assert not [f for f in remarks(cfg) if f.costs]
    cfg.param_scheduler.end = 100_000
    assert any('end at iteration 100000' in f.text for f in remarks(cfg))


def test_images_of_a_step():
    from dense_ssl.finetune.recipe_audit import inspect_batch

    cfg = load(CONFIGS / 'mmdetection' / 'mask-rcnn_r50_fpn_1x_coco.py')
    assert not inspect_batch(cfg, 8)
    (note,) = inspect_batch(cfg, 4)
    assert not note.costs and '8 images, the learning rate is for 16' in (note.text)
    cfg.auto_scale_lr.enable = True
    assert not inspect_batch(cfg, 4)
    cfg.train_dataloader.batch_size = 1
    (problem,) = inspect_batch(cfg, 1)
    assert problem.costs and 'one image at a time' in problem.text


def test_random_weights_are_random(tmp_path):
    from dense_ssl.finetune import fine_tune
    from dense_ssl.transfer import TransferError

    cfg = stock('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    cfg.work_dir, cfg.launcher = str(tmp_path), 'none'
    with pytest.raises(TransferError, match='torchvision://resnet'):
        fine_tune(cfg, 'random', strict_recipe=True)
    cfg.load_from = 'x.pth'
    with pytest.raises(TransferError, match='load_from .x.pth. were given'):
        fine_tune(cfg, 'random')


def test_a_probe_that_moves_its_statistics_is_found():
    cfg = load(CONFIGS / 'mmpretrain' / 'linear_resnet50_8xb32-steplr-100e_in1k.py')
    from dense_ssl.finetune.check import build_model
    from dense_ssl.finetune.recipe_audit import inspect_recipe

    model = build_model(cfg)
    model.train()
    assert not [f for f in inspect_recipe(cfg, model) if f.costs]
    # As a backbone would be whose freezing forgets the norms.
    model.backbone.train = lambda mode=True: model.backbone.bn1.train(mode)
    texts = [f.text for f in inspect_recipe(cfg, model) if f.costs]
    assert 'move its norm statistics' in texts[0]


def late_step(cfg):
    """A step of the learning rate, or its end, when training is over."""
    count, last = (
        ('max_iters', 'iteration') if 'max_iters' in cfg.train_cfg else ('max_epochs', 'epoch')
    )
    key = 'milestones' if 'milestones' in cfg.param_scheduler[-1] else 'end'
    late = cfg.train_cfg[count] + 1
    cfg.param_scheduler[-1][key] = [late] if key == 'milestones' else late
    return f'{last} {late}'


def no_evaluator(cfg):
    cfg.val_evaluator = None
    return 'val_evaluator is missing'


def supervised_url(cfg):
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='torchvision://resnet50')
    return 'model.backbone.init_cfg.checkpoint=torchvision://resnet50'


@pytest.mark.parametrize('path', ALL, ids=lambda path: path.stem)
def test_what_would_spoil_a_config_is_found(path):
    from torch import nn

    from dense_ssl.finetune.recipe_audit import inspect_recipe

    # All of these are read from the config; any model serves.
    model = nn.Module()
    model.backbone = nn.Conv2d(1, 1, 1)
    assert not [f for f in inspect_recipe(load(path), model) if f.costs]
    for spoil in (late_step, no_evaluator, supervised_url):
        cfg = load(path)
        words = spoil(cfg)
        found = [f.text for f in inspect_recipe(cfg, model) if f.costs]
        assert len(found) == 1 and words in found[0], spoil.__name__


def test_every_config_has_these_parts():
    assert {path.parent.name for path in ALL} == {'mmdetection', 'mmsegmentation', 'mmpretrain'}
