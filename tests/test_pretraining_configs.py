"""What every pre-training config must agree on with itself, and a step."""

import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

import dense_ssl  # noqa: F401
from dense_ssl.cli.arguments import train_parser
from dense_ssl.cli.build import build_config, build_runner
from dense_ssl.engine import LARS
from dense_ssl.registry import DATASETS, HOOKS, MODELS, OPTIMIZERS
from tests.engine.runs import Recorder, image_folder

ROOT = Path(__file__).resolve().parents[1] / 'configs'
CONFIGS = sorted(
    p.relative_to(ROOT).as_posix()
    for method in ('densecl', 'pixpro', 'mcl')
    for p in (ROOT / method).glob('*.py')
)
PROJECTS = sorted(
    f'../{p.relative_to(ROOT.parent).as_posix()}'
    for p in ROOT.parent.glob('projects/*/configs/*.py')
)


def load(name: str) -> Config:
    return Config.fromfile(ROOT / name)


@pytest.mark.parametrize('name', CONFIGS)
def test_name_says_what_the_config_does(name):
    cfg = load(name)
    gpus, batch = map(int, re.search(r'_(\d+)xb(\d+)-', name).groups())
    assert cfg.train_dataloader.batch_size == batch
    accumulate = re.search(r'-accum(\d+)-', name)
    counts = cfg.optim_wrapper.get('accumulative_counts', 1)
    assert counts == (int(accumulate[1]) if accumulate else 1)
    # mmengine compares it with the images of an iteration, not of a step
    assert cfg.auto_scale_lr.base_batch_size == gpus * batch
    length, unit = re.search(r'-(\d+)(e|k)_', name).groups()
    wanted = dict(max_epochs=int(length)) if unit == 'e' else dict(max_iters=1000 * int(length))
    assert wanted.items() <= cfg.train_cfg.to_dict().items()
    depth = int(re.search(r'resnet(\d+)', name)[1])
    assert cfg.model.backbone.depth == depth


def contradictions(cfg: Config) -> list:
    """What of the schedule never comes to pass, and weights from elsewhere."""
    by_epoch = 'max_epochs' in cfg.train_cfg
    epochs = cfg.train_cfg.get('max_epochs') or cfg.train_cfg.get('max_iters')
    found = [] if epochs else ['training has no length']
    for s in cfg.param_scheduler if epochs else ():
        if s.by_epoch != by_epoch:
            found.append(f'{s.type} counts in another unit than training')
        if s.end > epochs:
            found.append(f'{s.type} ends after training')
        if any(step >= epochs for step in s.get('milestones', ())):
            found.append(f'{s.type} steps after training')
        length = s.end - s.begin
        if s.type == 'CosineAnnealingLR' and s.get('T_max', length) != length:
            found.append('the cosine is cut off')
    if epochs and max(s.end for s in cfg.param_scheduler) < epochs:
        found.append('nothing steers the learning rate at the end')
    if '://' in str(cfg.model) or cfg.get('load_from') or cfg.get('resume'):
        found.append('weights from elsewhere')
    if cfg.get('val_dataloader') and not cfg.get('val_evaluator'):
        found.append('nothing is measured in validation')
    return found


@pytest.mark.parametrize('name', CONFIGS + PROJECTS)
def test_no_config_contradicts_itself(name):
    assert contradictions(load(name)) == []


@pytest.mark.parametrize(
    'change, fault',
    [
        ({'param_scheduler.0.end': 300}, 'ends after training'),
        ({'train_cfg.max_epochs': 400}, 'nothing steers'),
        ({'param_scheduler.0.T_max': 12}, 'cut off'),
        ({'param_scheduler.0.milestones': [120, 200]}, 'steps after'),
        ({'param_scheduler.0.by_epoch': False}, 'another unit than training'),
        ({'train_cfg': dict(by_epoch=False, max_iters=9)}, 'another unit than training'),
        (
            {
                'model.backbone.init_cfg': dict(
                    type='Pretrained', checkpoint='torchvision://resnet50'
                )
            },
            'elsewhere',
        ),
        ({'load_from': 'x.pth'}, 'elsewhere'),
        ({'val_dataloader': dict(batch_size=1)}, 'nothing is measured'),
    ],
)
def test_contradictions_are_found(change, fault):
    cfg = load('densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py')
    for key, value in change.items():
        *path, last = key.split('.')
        node = cfg
        for part in path:
            node = node[int(part) if part.isdigit() else part]
        node[last] = value
    assert any(fault in found for found in contradictions(cfg))


# What keeps a step small, by what the model has; all are users' options.
SMALL = {
    'model.backbone.depth': 18,
    'model.queue_len': 4,
    'model.neck.in_channels': [8, 16, 32, 64],
    'model.neck.out_channels': 16,
    'model.propagation.in_channels': 16,
    'model.region_head.in_channels': 16,
    'model.region_head.hidden_channels': 32,
    'model.region_head.out_channels': 16,
    'model.predictor.in_channels': 16,
    'model.predictor.hid_channels': 32,
    'model.head.num_classes': 2,
}


def small_options(cfg: Config) -> dict:
    """Options that make a step of ``cfg`` cheap, its structure kept."""
    options = {
        # Left at their defaults in the configs, as the tower's below.
        'model.backbone.base_channels': 8,
        'model.backbone.stem_channels': 8,
    }
    has_neck = bool(cfg.model.get('neck'))
    for key, value in SMALL.items():
        node = cfg
        *path, last = key.split('.')
        for part in path:
            node = node.get(part) or {}
        if last in node:
            options[key] = value
    if cfg.model.get('tower'):
        options.update({'model.tower.in_channels': 16, 'model.tower.feat_channels': 16})
    if cfg.model.get('region_head'):
        options['model.region_head.conv_channels'] = 16
    if 'num_classes' in cfg.model.head:
        options['model.head.in_channels'] = 16
    for name, part in cfg.model.items():
        if not name.endswith(('projector', 'predictor')):
            continue
        for key, value in (('hidden_channels', 32), ('out_channels', 16)):
            if key in part:
                options[f'model.{name}.{key}'] = value
        if 'in_channels' in part and 'hidden_channels' in part:
            from_stage = not has_neck or name == 'instance_projector'
            options[f'model.{name}.in_channels'] = (
                16 if name.endswith('predictor') else 64 if from_stage else 16
            )
    return options


def small_runner(name: str, images, work_dir):
    """The runner of tools/train.py, by the options users have; no checkpoint is saved."""
    words = [str(ROOT / name), '--work-dir', str(work_dir), '--data', str(images)]
    words += '--view-size 64 --batch-size 4 --workers 0'.split()
    words += ['--epochs', '1'] if 'max_epochs' in load(name).train_cfg else ['--iters', '2']
    args = train_parser().parse_args(words)
    options = small_options(load(name))
    args.cfg_options = {f'+{k}': v for k, v in options.items()}  # some are new keys
    args.cfg_options['+experiment_name'] = work_dir.name
    cfg = build_config(args)
    cfg.default_hooks.checkpoint = None
    return build_runner(cfg)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Four images of each of two classes; a config may ignore the folders."""
    root = tmp_path_factory.mktemp('pretraining') / 'images'
    for kind in ('a', 'b'):
        image_folder(root / kind, 4, size=72)
    return root


@pytest.mark.parametrize('name', CONFIGS + PROJECTS)
def test_takes_two_iterations(name, images, tmp_path):
    """Of four images each; that is one step where gradients are accumulated."""
    runner = small_runner(name, images, tmp_path)
    recorder, model = Recorder(), runner.model
    runner.register_hook(recorder)
    before = {key: value.clone() for key, value in model.named_parameters()}
    runner.train()
    assert len(recorder.losses) == 2 and all(map(math.isfinite, recorder.losses))
    tracked = [
        m.num_batches_tracked
        for m in model.backbone.modules()
        if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
    ]
    assert len(tracked) == 20 and all(value >= 2 for value in tracked)
    after = dict(model.named_parameters())
    moved = ['backbone.conv1.weight']
    if momentum_encoder := getattr(model, 'momentum_encoder', None):
        assert momentum_encoder.num_updates == (1 if '-accum' in name else 2)
        # of the next step: the end of the schedule; None keeps it as it is
        assert recorder.momenta[-1] == (runner.cfg.model.get('end_momentum') or recorder.momenta[0])
        moved.append('momentum_encoder.backbone.conv1.weight')
    for key in moved:
        assert not torch.equal(before[key], after[key]), key
    optimizer = runner.optim_wrapper.optimizer
    if name.startswith('pixpro') and isinstance(optimizer, LARS):
        for group in optimizer.param_groups:
            (p,) = group['params']
            assert group['weight_decay'] == (0.0 if p.dim() == 1 else 1e-5)
        assert optimizer.exclude_1d
    if 'mcl' in name:
        assert {'neck.fpn_convs.0.bn.bias', 'region_head.convs.1.conv.weight'} <= before.keys()
        assert all(0 < x < 50 for x in recorder.losses)
    if name.startswith('mcl'):
        sizes = [64, 32, 16, 8] * 2 if 'direct' in name else [64] * 8
        views = runner.train_dataloader.dataset[0]['inputs']
        assert [view.shape[-1] for view in views] == sizes


PIXPRO = [name for name in CONFIGS if name.startswith('pixpro')]


def test_the_pixpro_family_is_complete():
    required = [
        f'pixpro/{method}_resnet50_8xb128-coslr-{schedule}.py'
        for method, schedules in {
            'pixpro': ('100e_in1k', '400e_in1k', '800e_coco'),
            'pixpro-inst': ('100e_in1k',),
            'pixcontrast': ('100e_in1k', '800e_coco'),
            'pixpro-fpn': ('100e_in1k',),
            'pixpro-fpn-head': ('100e_in1k',),
        }.items()
        for schedule in schedules
    ]
    assert set(required) <= set(PIXPRO)


def one_of_each_model(names) -> list:
    """The first config of each model."""
    return list({str(load(name).model): name for name in reversed(names)}.values())


GRIDS = {
    'fpn': [(28, 28), (28, 28), (14, 14), (7, 7)],
    'fpn-head': 2 * [(28, 28), (14, 14), (7, 7), (4, 4)],
}


@pytest.mark.parametrize('name', one_of_each_model(PIXPRO))
def test_real_sizes_fit_together(name):
    """The configured networks on tensors of full size without numbers."""
    cfg = load(name)
    if cfg.model.type == 'dense_ssl.DenseCL':
        return
    with DefaultScope.overwrite_default_scope('dense_ssl'):
        model = MODELS.build(cfg.model).to('meta')
    image = torch.empty(4, 3, 224, 224, device='meta')
    variant = Path(name).stem.split('_')[0].partition('-')[2]
    last = 224 // 4 // math.prod(cfg.model.backbone.get('strides', (1, 2, 2, 2)))
    for networks in (model, model.momentum_encoder):
        encoding = model.encode(networks, image)
        grids = [tuple(model.predict(c).shape) for c in encoding.cells]
        assert grids == [(4, 256, *size) for size in GRIDS.get(variant, [(last, last)])]
    if variant == 'inst':
        assert model.instance_predictor(encoding.image).shape[1] == 256


@pytest.mark.parametrize('name', PIXPRO)
def test_pixpro_mixes_precision_where_there_are_gpus(name):
    amp = '8xb128' in name
    assert load(name).optim_wrapper.type == ('AmpOptimWrapper' if amp else 'OptimWrapper')


def test_mcl_as_published():
    cfg = load('mcl/mcl_resnet50_32xb128-coslr-100e_in1k.py')
    multi_view = cfg.train_dataloader.dataset.pipeline[1]
    assert multi_view.num_views == [4, 4]
    for pipeline, blur, solarise in zip(multi_view.transforms, (1, 0.1), (0, 0.2)):
        assert pipeline[0].crop_ratio_range == (0.2, 1.0)
        assert pipeline[2].blur_prob == blur
        assert pipeline[2].solarize_prob == solarise
    model = MODELS.build(cfg.model)
    convs = [m.weight.shape for m in model.region_head.modules() if isinstance(m, torch.nn.Conv2d)]
    assert convs == [(256, 256, 3, 3)] * 4
    assert model.levels.counts(128) == (128, 32, 8, 4)
    assert model.head.weights == (1 / 2, 1 / 4, 1 / 8, 1 / 8)
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    assert shapes['region_head.mlp.fc0.weight'] == (2048, 256)
    assert shapes['region_head.mlp.fc1.weight'] == (256, 2048)
    assert shapes['predictors.3.fc0.weight'] == (2048, 256)
    assert 'neck.lateral_convs.0.conv.bias' not in shapes


@pytest.mark.parametrize('name', CONFIGS)
def test_every_part_exists(name):
    cfg = load(name)
    assert cfg.default_scope == 'dense_ssl'
    assert cfg.data_root == cfg.train_dataloader.dataset.data_root
    assert MODELS.get(cfg.model.type)
    assert DATASETS.get(cfg.train_dataloader.dataset.type)
    assert OPTIMIZERS.get(cfg.optim_wrapper.optimizer.type)
    hooks = [h['type'] for h in cfg.custom_hooks]
    assert all(HOOKS.get(h) for h in hooks)
    assert cfg.runner_type == 'dense_ssl.DenseRunner'
    assert not cfg.train_dataloader.persistent_workers


@pytest.mark.parametrize('method', ['densecl', 'pixpro', 'mcl'])
def test_metafile_lists_every_config(method):
    listed = Config.fromfile(ROOT / method / 'metafile.yml').Models
    assert sorted(m['Config'] for m in listed) == [
        f'configs/{n}' for n in CONFIGS if n.startswith(method)
    ]


# lr at the config's batch, weight decay, optimiser, EMA, epochs of warm-up,
# eta_min: the papers' recipes, written out.
RECIPES = {
    'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py': (0.03, 1e-4, 'SGD', (0.999, None), 0, 0),
    'densecl/densecl_resnet101_8xb32-coslr-200e_in1k.py': (0.03, 1e-4, 'SGD', (0.999, None), 0, 0),
    'densecl/densecl_resnet50_8xb32-coslr-800e_coco.py': (0.3, 1e-4, 'SGD', (0.999, None), 0, 0),
    'densecl/densecl_resnet50_8xb32-coslr-1600e_coco.py': (0.3, 1e-4, 'SGD', (0.999, None), 0, 0),
    'pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py': (4.0, 1e-5, 'LARS', (0.99, 1.0), 5, 1e-6),
    'pixpro/pixpro_resnet50_8xb128-coslr-400e_in1k.py': (4.0, 1e-5, 'LARS', (0.99, 1.0), 5, 1e-6),
    'pixpro/pixcontrast_resnet50_8xb128-coslr-100e_in1k.py': (
        4.0,
        1e-5,
        'LARS',
        (0.99, 1.0),
        5,
        1e-6,
    ),
    'mcl/mcl_resnet50_32xb128-coslr-100e_in1k.py': (16.0, 1e-5, 'LARS', (0.99, 1.0), 10, 1e-4),
    'mcl/mcl_resnet50_8xb128-accum4-coslr-100e_in1k.py': (
        16.0,
        1e-5,
        'LARS',
        (0.99, 1.0),
        10,
        1e-4,
    ),
}


@pytest.mark.parametrize('name', RECIPES)
def test_recipe_of_the_paper(name):
    cfg = load(name)
    lr, decay, optimizer, ema, warm_up, eta_min = RECIPES[name]
    built = cfg.optim_wrapper.optimizer
    assert (built.lr, built.weight_decay, built.momentum, built.type) == (lr, decay, 0.9, optimizer)
    assert (cfg.model.momentum, cfg.model.get('end_momentum')) == ema
    schedule = {s.type: s for s in cfg.param_scheduler}
    assert schedule['CosineAnnealingLR'].get('eta_min', 0) == eta_min
    assert schedule.get('LinearLR', dict(end=0))['end'] == warm_up
    if name.startswith('densecl'):
        model = cfg.model
        assert (model.queue_len, model.loss_lambda) == (65536, 0.5)
        assert model.head.temperature == 0.2 and model.shuffle_bn
        assert not model.backbone.zero_init_residual
        assert model.backbone.init_cfg[0].mode == 'fan_in'
        p = model.projector
        assert (p.hidden_channels, p.out_channels, p.num_grid) == (2048, 128, None)
    if name.startswith('mcl'):
        assert built.variant == 'mcl' and built.eta == 0.001
        assert cfg.optim_wrapper.clip_grad.max_norm == 500
        assert schedule['LinearLR'].start_factor == 1e-4
    if name.startswith('pixpro'):
        assert built.variant == 'pixpro'
        assert schedule['LinearLR'].start_factor == 0.01
        assert cfg.model.correspondence.radius == 0.7


def test_model_index_lists_every_method():
    index = Config.fromfile(ROOT.parent / 'model-index.yml').Import
    for method in ('densecl', 'pixpro', 'mcl'):
        assert f'configs/{method}/metafile.yml' in index
