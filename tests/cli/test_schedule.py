"""One rule for a changed training length, over every schedule in configs/."""

import copy
from pathlib import Path

import pytest
from mmengine.config import Config

import dense_ssl  # noqa: F401  (lets `mmseg::` bases resolve)
from dense_ssl.cli.config import load_config
from dense_ssl.cli.schedule import set_length
from dense_ssl.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(
    path
    for pattern in ('configs/*/*.py', 'configs/benchmarks/*/*.py', 'projects/*/configs/*.py')
    for path in ROOT.glob(pattern)
    if '_base_' not in path.parts
)
PACKAGES = dict(mmdetection='mmdet', mmsegmentation='mmseg')


def fitted(path, unit=None):
    """One config of each schedule: (length before, unit, config)."""
    cfg = load_config(str(path))
    train = cfg.train_cfg
    unit = 'epochs' if train.get('max_epochs') else 'iters'
    return cfg, unit, train[f'max_{unit}']


def value_at(schedulers, unit, at):
    """Schedules that act at a moment, slow and obvious."""
    return [
        s.type
        for s in schedulers
        if s.get('by_epoch', True) == (unit == 'epochs')
        and s.get('begin', 0) <= at < s.get('end', float('inf'))
    ]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
def test_every_schedule_follows(path):
    pytest.importorskip(PACKAGES.get(path.parent.name, 'mmpretrain'))
    cfg, unit, old = fitted(path)
    for factor in (0.01, 0.08, 0.5, 1, 3):
        check(copy.deepcopy(cfg), unit, old, factor)


def check(cfg, unit, old, factor):
    """The schedules of ``cfg``, made ``factor`` times as long."""
    new = max(1, round(old * factor))
    before = copy.deepcopy(list(cfg.param_scheduler))
    set_length(cfg, **{unit: new})
    assert cfg.train_cfg[f'max_{unit}'] == new
    for s, was in zip(cfg.param_scheduler, before):
        assert s.type == was.type
        if s.get('by_epoch', True) != (unit == 'epochs'):
            for key in ('begin', 'end'):
                at = was.get(key, 0) * min(1, factor)
                assert s.get(key, 0) == pytest.approx(max(key == 'end' and key in was, at), abs=0.5)
            continue
        begin, end = s.get('begin', 0), s.get('end', new)
        assert 0 <= begin < end <= new
        if was.get('end', old) == old:
            assert end == new
        warms_up = s.type == 'LinearLR' and was.get('end', old) < old
        if warms_up:
            assert end == pytest.approx(
                min(was.end, max(1, new // 10) if unit == 'iters' else new / 10)
            )
        if 'T_max' in s:
            assert s.T_max == pytest.approx(end - begin)
        for step, at in zip(reversed(s.get('milestones', [])), reversed(was.get('milestones', []))):
            assert 0 < step < new and abs(step - at * new / old) < 1
        for at in (begin, end):
            whole = unit == 'iters' or not s.get('convert_to_iter_based')
            assert not whole or isinstance(at, int)
    # what acts at the middle and at the end of training still does
    for share in (0.5, 0.999):
        assert value_at(cfg.param_scheduler, unit, share * new) == value_at(
            before, unit, share * old
        )
    if factor == 1 and cfg.param_scheduler[0].get('end', 0) <= old / 10:
        assert list(cfg.param_scheduler) == before
    hooks = cfg.default_hooks
    if unit == 'iters':
        assert cfg.train_cfg.get('val_interval', 1) <= new
        assert hooks.logger.interval <= max(1, new // 10)
    if hooks.checkpoint.get('by_epoch', True) == (unit == 'epochs'):
        assert hooks.checkpoint.interval <= new


def test_the_unit_must_be_the_configs():
    cfg, *_ = fitted(ROOT / 'configs/densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py')
    with pytest.raises(UserError, match='counts epochs: say --epochs'):
        set_length(cfg, iters=3)
    with pytest.raises(UserError, match='--epochs must be a whole number, 1 or more, got 0'):
        set_length(cfg, epochs=0)
    cfg = Config(dict(train_cfg=dict(max_iters=9, val_interval=1)))
    with pytest.raises(UserError, match='counts iterations: say --iters'):
        set_length(cfg, epochs=3)


def test_iterations_shrink_everything():
    cfg = Config(
        dict(
            train_cfg=dict(max_iters=90000, val_interval=10000),
            default_hooks=dict(
                checkpoint=dict(by_epoch=False, interval=10000), logger=dict(interval=50)
            ),
            custom_hooks=[dict(type='x.PreciseBatchNormHook', iterations=200)],
            param_scheduler=[
                dict(type='LinearLR', begin=0, end=1000, by_epoch=False),
                dict(
                    type='MultiStepLR',
                    begin=0,
                    end=90000,
                    milestones=[60000, 80000],
                    by_epoch=False,
                ),
            ],
        )
    )
    longer = copy.deepcopy(cfg)
    set_length(longer, iters=500)
    assert longer.custom_hooks[0].iterations == 25
    set_length(cfg, iters=300)
    assert cfg.custom_hooks[0].iterations == 0  # of 15 iterations: worse than the running average
    assert cfg.param_scheduler[0].end == 30
    assert cfg.param_scheduler[1].milestones == [200, 266]
    assert cfg.param_scheduler[1].end == 300
    assert cfg.train_cfg.max_iters == cfg.train_cfg.val_interval == 300
    assert cfg.default_hooks.checkpoint.interval == 300 and cfg.default_hooks.logger.interval == 30
    set_length(cfg, iters=1)  # no step before the only update
    assert cfg.param_scheduler[1].milestones == []
    assert cfg.param_scheduler[0].end == 1


def test_several_optimisers_and_single_schedules():
    one = dict(type='CosineAnnealingLR', T_max=10, end=10)
    for given in (one, [one], dict(a=one, b=[one])):
        cfg = Config(dict(train_cfg=dict(max_epochs=10), param_scheduler=copy.deepcopy(given)))
        set_length(cfg, epochs=4)
        text = str(cfg.param_scheduler)
        assert text.count("'T_max': 4") == text.count("'end': 4") == str(given).count('T_max')
