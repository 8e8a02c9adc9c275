"""``--cfg-options``: read, checked, merged."""

import argparse
import copy

import pytest
from mmengine.config import Config

from dense_ssl.cli.options import OptionAction, flatten, merge_options
from dense_ssl.errors import UserError


@pytest.fixture
def cfg():
    return Config(
        dict(
            default_scope='dense_ssl',
            data_root='data/images',
            view_size=224,
            model=dict(
                type='MoCo',
                queue_len=65536,
                momentum=0.999,
                feat_dim=128,
                backbone=dict(type='ResNet', depth=50, init_cfg=None, norm_cfg=dict(type='BN')),
            ),
            train_dataloader=dict(
                batch_size=32,
                num_workers=8,
                dataset=dict(
                    type='CustomDataset',
                    data_root='x',
                    pipeline=[dict(type='LoadImageFromFile'), dict(type='RandomFlip')],
                ),
            ),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=200),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.03)),
            param_scheduler=[dict(type='CosineAnnealingLR', T_max=200, end=200)],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=50),
                checkpoint=dict(type='CheckpointHook', interval=10),
            ),
            val_cfg=None,
        )
    )


@pytest.mark.parametrize(
    'key',
    [
        'model.queue_len',
        'model.backbone.depth',
        'param_scheduler.0.T_max',
        'train_dataloader.dataset.pipeline.1.type',
        'default_hooks.logger.interval',
        # a section that is switched off
        'model.backbone.init_cfg.checkpoint',
        'val_cfg.type',
        # new ones
        '+model.backbone.frozen_stages',
        '+train_dataloader.dataset.pipeline.1.prob',
        '+randomness.seed',
        '+load_from',
    ],
)
def test_keys_that_exist_or_are_said_to_be_new(cfg, key):
    before = copy.deepcopy(cfg)
    merge_options(cfg, {key: 7})
    node = cfg
    for name in key.lstrip('+').split('.'):
        node = node[int(name) if isinstance(node, list) else name]
    assert node == 7
    before.merge_from_dict({key.lstrip('+').split('.')[0]: None})  # nothing else changed
    assert {k: v for k, v in cfg.items() if k not in key} == {
        k: v for k, v in before.items() if k not in key
    }


@pytest.mark.parametrize(
    'key, suggestion',
    [
        ('modle.queue_len', 'model.queue_len'),
        ('model.queue_length', 'model.queue_len'),
        ('model.backbon.depth', 'model.backbone.depth'),
        ('model.backbone.dept', 'model.backbone.depth'),
        ('queue_len', 'model.queue_len'),
        ('optim_wrapper.optimizer.l', None),
        ('optim_wraper.optimizer.lr', 'optim_wrapper.optimizer.lr'),
        ('train_dataloader.batchsize', 'train_dataloader.batch_size'),
        ('train_dataloader.dataset.data_rot', 'train_dataloader.dataset.data_root'),
        ('train_cfg.max_epoch', 'train_cfg.max_epochs'),
        ('default_hooks.checkpoin.interval', 'default_hooks.checkpoint.interval'),
        ('param_scheduler.0.T_Max', 'param_scheduler.0.T_max'),
        ('model.backbone.frozen_stages', None),
    ],
)
def test_keys_that_do_not_exist(cfg, key, suggestion):
    before = cfg.pretty_text
    with pytest.raises(UserError) as error:
        merge_options(cfg, {key: 1})
    message = str(error.value)
    assert message.startswith(f'--cfg-options {key}: ') and '\n' not in message
    assert message.endswith(f'To add a key, write +{key}=...')
    if suggestion:
        assert f'Did you mean {suggestion}? ' in message
    assert cfg.pretty_text == before


def test_list_entry_that_does_not_exist(cfg):
    with pytest.raises(UserError, match='list of 2 entries'):
        merge_options(cfg, {'train_dataloader.dataset.pipeline.2.prob': 1})


def test_key_below_a_number(cfg):
    with pytest.raises(UserError, match='model.queue_len is 65536'):
        merge_options(cfg, {'model.queue_len.size': 1})


def test_variable_that_is_used_up_already(cfg):
    cfg.train_dataloader.dataset.pipeline.append(dict(type='Resize', view_size=224))
    with pytest.raises(UserError, match='would change nothing') as error:
        merge_options(cfg, {'view_size': 96})
    assert 'train_dataloader.dataset.pipeline.2.view_size' in str(error.value)


def test_flatten():
    assert flatten({'a': {'b': 1, 'c': {}}, 'd.e': [2]}) == {'a.b': 1, 'a.c': {}, 'd.e': [2]}


def test_section_that_is_none_is_filled(cfg):
    cfg.optim_wrapper.clip_grad = None
    cfg.train_dataloader.dataset.pipeline[0].backend_args = None
    merge_options(
        cfg,
        {
            'optim_wrapper.clip_grad.max_norm': 1.0,
            'train_dataloader.dataset.pipeline.0.backend_args.a': 2,
        },
    )
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=1.0)
    assert cfg.train_dataloader.dataset.pipeline[0].backend_args == dict(a=2)


def parse(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction)
    return parser.parse_args(['--cfg-options', *words]).cfg_options


@pytest.mark.parametrize('path', ['/my images', '/a,b/c', '/a [x, y]/im', '(1)', '007', "it's"])
@pytest.mark.parametrize(
    'key',
    [
        'data_root',
        '+load_from',
        'train_dataloader.dataset.data_root',
        'work_dir',
        'val_evaluator.ann_file',
        'test_dataloader.dataset.data_prefix.img',
        'load_from',
        'resume',
        'model.backbone.init_cfg.checkpoint',
        'test_dataloader.dataset.data_prefix.img_path',
    ],
)
def test_paths_are_taken_as_they_are(key, path):
    assert parse(f'{key}={path}') == {key: path}


def test_other_values_are_read_as_before():
    assert parse(
        'data_root="a b"',
        'resume=True',
        'load_from=None',
        'lr=0.1',
        'steps=1,2',
        'scale=(1,2)',
        'default_hooks.x.y=a=b',
    ) == {
        'data_root': 'a b',
        'resume': True,
        'load_from': None,
        'lr': 0.1,
        'steps': [1, 2],
        'scale': (1, 2),
        'default_hooks.x.y': 'a=b',
    }


def test_repeated_options_add_up():
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction)
    args = parser.parse_args(['--cfg-options', 'a=1', '--cfg-options', 'b=2'])
    assert args.cfg_options == dict(a=1, b=2)


@pytest.mark.parametrize('word', ['experiment_name=a [x, y] b', 'a=[1,2', 'a'])
def test_what_cannot_be_read_is_named(word, capsys):
    with pytest.raises(SystemExit):
        parse(word)
    assert word in capsys.readouterr().err
