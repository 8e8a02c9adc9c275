import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from dense_ssl.cli.config_options import check_options, flatten, open_sections


@pytest.fixture
def cfg():
    with DefaultScope.overwrite_default_scope('dense_ssl'):
        yield Config(
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
        'train_dataloader.dataset.pipeline.1.prob',
        # arguments that the config does not mention
        'model.backbone.frozen_stages',
        'model.backbone.init_cfg.checkpoint',
        'model.backbone.norm_cfg.momentum',
        'model.backbone.norm_cfg.requires_grad',
        'model.data_preprocessor.mean',
        'optim_wrapper.optimizer.nesterov',
        'optim_wrapper.clip_grad.max_norm',
        'optim_wrapper.accumulative_counts',
        'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult',
        'optim_wrapper.constructor',
        'param_scheduler.0.eta_min',
        'param_scheduler.0.convert_to_iter_based',
        'train_dataloader.prefetch_factor',
        'train_dataloader.num_batch_per_epoch',
        'train_cfg.val_interval',
        'default_hooks.checkpoint.max_keep_ckpts',
        'default_hooks.logger.priority',
        'randomness.seed',
        'load_from',
        'sync_bn',
        'find_unused_parameters',
        'val_cfg.type',
        'env_cfg.dist_cfg',
        'train_dataloader.dataset.ann_file',
        'data_root',
    ],
)
def test_accepted(cfg, key):
    check_options(cfg, {key: 1}, variables=('data_root',))


@pytest.mark.parametrize(
    'key, suggestion',
    [
        ('modle.queue_len', 'model'),
        ('model.queue_length', 'model.queue_len'),
        ('model.backbon.depth', 'model.backbone'),
        ('model.backbone.dept', 'model.backbone.depth'),
        ('model.backbone.frozen_stage', 'model.backbone.frozen_stages'),
        ('queue_len', 'model.queue_len'),
        ('optim_wrapper.optimizer.learning_rat', None),
        ('optim_wrapper.optimizer.momentm', 'optim_wrapper.optimizer.momentum'),
        ('optim_wraper.optimizer.lr', 'optim_wrapper'),
        ('train_dataloader.batchsize', 'train_dataloader.batch_size'),
        ('train_dataloader.dataset.data_rot', 'train_dataloader.dataset.data_root'),
        ('train_cfg.max_epoch', 'train_cfg.max_epochs'),
        ('default_hooks.checkpoin.interval', 'default_hooks.checkpoint'),
        ('param_scheduler.0.T_Max', 'param_scheduler.0.T_max'),
        ('randomnes.seed', 'randomness'),
    ],
)
def test_misspelt(cfg, key, suggestion):
    with pytest.raises(ValueError) as error:
        check_options(cfg, {key: 1})
    message = str(error.value)
    assert message.startswith(f'--cfg-options {key}: ')
    assert '\n' not in message
    if suggestion:
        assert message.endswith(f'Did you mean {suggestion}?')


def test_new_type_brings_its_own_arguments(cfg):
    check_options(cfg, {'model.backbone.type': 'VisionTransformer', 'model.backbone.patch_size': 8})
    with pytest.raises(ValueError, match='patch_size'):
        check_options(cfg, {'model.backbone.patch_size': 8})


def test_hook_that_takes_no_arguments(cfg):
    cfg.custom_hooks = [dict(type='DistSamplerSeedHook')]
    check_options(cfg, {'custom_hooks.0.priority': 'LOW'})
    with pytest.raises(ValueError, match="custom_hooks.0 has no key 'every'"):
        check_options(cfg, {'custom_hooks.0.every': 1})


def test_list_entry_that_does_not_exist(cfg):
    with pytest.raises(ValueError, match='list of 2 entries'):
        check_options(cfg, {'train_dataloader.dataset.pipeline.2.prob': 1})


def test_key_below_a_number(cfg):
    with pytest.raises(ValueError, match='model.queue_len is 65536'):
        check_options(cfg, {'model.queue_len.size': 1})


def test_variable_that_is_used_up_already(cfg):
    cfg.train_dataloader.dataset.pipeline.append(dict(type='Resize', view_size=224))
    with pytest.raises(ValueError, match='would change nothing') as error:
        check_options(cfg, {'view_size': 96})
    assert 'train_dataloader.dataset.pipeline.2.view_size' in str(error.value)


def test_check_leaves_the_config_alone(cfg):
    before = cfg.pretty_text
    check_options(cfg, {'model.backbone.depth': 18, 'load_from': 'x'})
    assert cfg.pretty_text == before


def test_flatten():
    assert flatten({'a': {'b': 1, 'c': {}}, 'd.e': [2]}) == {'a.b': 1, 'a.c': {}, 'd.e': [2]}


def test_section_that_is_none_is_filled(cfg):
    options = {
        'optim_wrapper.clip_grad.max_norm': 1.0,
        'train_dataloader.dataset.pipeline.0.backend_args.a': 2,
    }
    cfg.optim_wrapper.clip_grad = None
    cfg.train_dataloader.dataset.pipeline[0].backend_args = None
    open_sections(cfg, options)
    cfg.merge_from_dict(options)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=1.0)
    step = cfg.train_dataloader.dataset.pipeline[0]
    assert step.backend_args == dict(a=2)
