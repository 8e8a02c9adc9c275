"""The benchmark configs train and validate, and say what the papers did."""

import subprocess
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from dense_ssl.config_tree import walk

from ..transfer.small_models import RegionHead, distinct, prefixed, resnet
from .tiny_data import write_coco, write_segmentation

CONFIGS = Path(__file__).parents[2] / 'configs' / 'benchmarks'
DETECTION = CONFIGS / 'mmdetection' / 'mask-rcnn_r50_fpn_1x_coco.py'
SEGMENTATION = CONFIGS / 'mmsegmentation' / 'fcn_r50-d8_4xb2-40k_cityscapes-769x769.py'


def options(config, tmp_path, **kwargs):
    from dense_ssl.cli.arguments import finetune_parser

    args = finetune_parser().parse_args([str(config), '--init-from', 'random'])
    args.__dict__.update(
        work_dir=str(tmp_path / 'work'),
        small=16,
        iters=1,
        batch_size=2,
        workers=0,
        seed=0,
        cfg_options=dict(**{'+experiment_name': tmp_path.name}),
    )
    args.__dict__.update(
        {key: str(value) if isinstance(value, Path) else value for key, value in kwargs.items()}
    )
    return args


def parsed(config) -> Config:
    import dense_ssl  # noqa: F401  (lets `mmseg::` bases resolve)

    return Config.fromfile(str(config))


def strings(node):
    return [value for _, value in walk(node) if isinstance(value, str)]


@pytest.mark.parametrize('config,package', [(DETECTION, 'mmdet'), (SEGMENTATION, 'mmseg')])
def test_no_supervised_weights_are_left_in(config, package):
    pytest.importorskip(package)
    cfg = parsed(config)
    assert not [text for text in strings(cfg.model.to_dict()) if '://' in text]
    assert cfg.model.backbone.type == 'ResNet'
    assert cfg.model.backbone.style == 'pytorch'
    assert cfg.model.backbone.get('frozen_stages', -1) == -1
    assert cfg.model.backbone.norm_eval is False
    assert cfg.model.data_preprocessor.bgr_to_rgb
    assert cfg.sync_bn == 'torch'
    last = cfg.train_cfg.max_iters
    for scheduler in cfg.param_scheduler:
        assert scheduler.end <= last
        assert all(step < last for step in scheduler.get('milestones', ()))


def test_norms_of_the_detector_are_not_decayed():
    pytest.importorskip('mmdet')
    cfg = parsed(DETECTION)
    assert cfg.optim_wrapper.paramwise_cfg.norm_decay_mult == 0
    assert cfg.train_cfg.max_iters == 90000
    assert cfg.param_scheduler[0].end == 1000


def test_mask_rcnn_takes_mcl_weights_trains_and_validates(tmp_path):
    pytest.importorskip('mmdet')
    from mmdet.models.necks import FPN

    from dense_ssl.cli.build import build_config
    from dense_ssl.finetune import fine_tune

    ann, images = write_coco(tmp_path, images=10)
    cfg = build_config(
        options(DETECTION, tmp_path, coco_ann=ann, coco_images=images, scale=(64, 64))
    )
    assert cfg.model.roi_head.bbox_head.num_classes == 2
    assert cfg.model.roi_head.mask_head.num_classes == 2

    fpn = FPN([64, 128, 256, 512], 16, 5, norm_cfg=dict(type='BN'))
    weights = {
        **prefixed('backbone.', resnet().state_dict()),
        **prefixed('neck.', fpn.state_dict()),
        **prefixed('region_head.', RegionHead(16).state_dict()),
    }
    torch.save(dict(state_dict=weights), tmp_path / 'mcl.pth')
    metrics = fine_tune(cfg, str(tmp_path / 'mcl.pth'))
    assert {'coco/bbox_mAP', 'coco/segm_mAP'} <= set(metrics)

    from dense_ssl.transfer import read_checkpoint

    saved = read_checkpoint(tmp_path / 'work' / 'iter_1.pth')
    assert saved.meta['transfer']['parts'] == ['backbone', 'neck', 'region_head']


@pytest.mark.parametrize('config,package', [(DETECTION, 'mmdet'), (SEGMENTATION, 'mmseg')])
@pytest.mark.parametrize('depth', [18, 50])
def test_a_narrow_backbone_fits_what_follows(config, package, depth):
    pytest.importorskip(package)
    from dense_ssl.finetune.check import build_model
    from dense_ssl.finetune.small import make_small

    cfg = parsed(config)
    make_small(cfg, 16, depth, base_channels=8)
    model = build_model(cfg).eval()
    assert model.backbone.conv1.weight.shape[0] == 8
    features = model.extract_feat(torch.zeros(1, 3, 64, 64))
    if package == 'mmseg':
        assert features[-1].shape[1] == (64 if depth == 18 else 256)
        assert model.decode_head(features).shape[1] == 19
        assert model.auxiliary_head(features).shape[1] == 19
    else:
        assert {level.shape[1] for level in features} == {16}


def test_a_c4_detector_has_one_width():
    pytest.importorskip('mmdet')
    from dense_ssl.errors import TransferError
    from dense_ssl.finetune.small import make_small

    c4 = CONFIGS / 'mmdetection' / 'mask-rcnn_r50-c4_1x_coco.py'
    with pytest.raises(TransferError, match='64 base channels only'):
        make_small(parsed(c4), 16, base_channels=8)
    with pytest.raises(TransferError, match='--small-base-channels wants 1 or more'):
        make_small(parsed(c4), 16, base_channels=0)


def test_every_part_of_mcl_lands_in_its_place():
    pytest.importorskip('mmdet')
    from mmdet.models.necks import FPN

    from dense_ssl.finetune.check import build_model
    from dense_ssl.finetune.small import make_small
    from dense_ssl.transfer import Checkpoint, prepare_transfer

    cfg = parsed(DETECTION)
    make_small(cfg, 16)
    model = build_model(cfg)
    fpn = FPN([64, 128, 256, 512], 16, 5, norm_cfg=dict(type='BN'))
    weights = {
        **prefixed('backbone.', distinct(resnet(), 1)),
        **prefixed('neck.', distinct(fpn, 2)),
        **prefixed('region_head.', distinct(RegionHead(16), 3)),
    }
    report = prepare_transfer(model, Checkpoint('mcl.pth', weights)).apply()
    assert [part.name for part in report.parts] == ['backbone', 'neck', 'region_head']
    assert not report.not_used
    filled = model.state_dict()
    for source, target in (
        ('backbone.layer3.1.bn2.running_mean', 'backbone.layer3.1.bn2.running_mean'),
        ('neck.fpn_convs.2.conv.weight', 'neck.fpn_convs.2.conv.weight'),
        ('region_head.convs.3.bn.bias', 'roi_head.bbox_head.shared_convs.3.bn.bias'),
    ):
        assert torch.equal(filled[target], weights[source]), target


def test_boxes_alone_leave_the_mask_branch_out(tmp_path):
    pytest.importorskip('mmdet')
    from dense_ssl.cli.build import build_config
    from dense_ssl.finetune import fine_tune

    ann, images = write_coco(tmp_path, images=6, masks=False)
    cfg = build_config(
        options(DETECTION, tmp_path, coco_ann=ann, coco_images=images, scale=(64, 64))
    )
    metrics = fine_tune(cfg, 'random')
    assert 'coco/bbox_mAP' in metrics and 'coco/segm_mAP' not in metrics


@pytest.mark.parametrize('cityscapes', [False, True])
def test_fcn_trains_validates_and_is_tested(tmp_path, cityscapes):
    pytest.importorskip('mmseg')
    from dense_ssl.cli.build import build_config
    from dense_ssl.finetune import fine_tune, test

    data = write_segmentation(tmp_path / 'data', cityscapes=cityscapes)
    args = options(
        SEGMENTATION, tmp_path, seg_data=data, seg_classes='a,b,c', scale=(64, 64), crop=(64, 64)
    )
    weights = prefixed('backbone.', resnet().state_dict())
    torch.save(dict(state_dict=weights), tmp_path / 'x.pth')
    metrics = fine_tune(build_config(args), str(tmp_path / 'x.pth'))
    assert 'mIoU' in metrics
    assert (tmp_path / 'work' / 'metrics.json').is_file()
    args.cfg_options['+experiment_name'] += '-test'
    again = test(build_config(args), str(tmp_path / 'work' / 'iter_1.pth'))
    assert again['mIoU'] == pytest.approx(metrics['mIoU'])


def test_the_wrong_depth_is_refused_before_data_are_opened(tmp_path):
    pytest.importorskip('mmseg')
    from dense_ssl.cli.build import build_config
    from dense_ssl.finetune import fine_tune
    from dense_ssl.transfer import TransferError

    torch.save(prefixed('backbone.', resnet().state_dict()), tmp_path / 'r18.pth')
    cfg = build_config(options(SEGMENTATION, tmp_path, small=None))
    # The config's own data/cityscapes does not exist here.
    with pytest.raises(TransferError, match='ResNet-18'):
        fine_tune(cfg, str(tmp_path / 'r18.pth'))
    assert not (tmp_path / 'work').exists()


@pytest.mark.parametrize('config,package', [(DETECTION, 'mmdet'), (SEGMENTATION, 'mmseg')])
def test_absent_data_are_named(tmp_path, config, package, monkeypatch):
    pytest.importorskip(package)
    from dense_ssl.cli.build import build_config
    from dense_ssl.finetune import fine_tune
    from dense_ssl.transfer import TransferError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(TransferError, match='data/c.* does not exist'):
        fine_tune(build_config(options(config, tmp_path)), 'random')


def test_a_bad_number_of_processes_is_refused_at_once():
    script = CONFIGS.parents[1] / 'tools' / 'benchmarks' / 'mmdetection' / 'dist_train.sh'
    done = subprocess.run(
        ['bash', str(script), 'config.py', 'random', '0'], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert 'number of processes' in done.stderr
    done = subprocess.run(['bash', str(script), 'config.py'], capture_output=True, text=True)
    assert done.returncode == 2 and 'CONFIG CHECKPOINT N' in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('task', ['nuclei', 'camvid'])
def test_real_data_go_through(tmp_path, task):
    from tests.data_paths import shared_data

    data = shared_data() / task
    from dense_ssl.cli.build import build_config
    from dense_ssl.finetune import fine_tune

    if task == 'nuclei':
        pytest.importorskip('mmdet')
        args = options(
            DETECTION,
            tmp_path,
            iters=2,
            scale=(128, 128),
            coco_ann=data / 'annotations' / 'instances_train.json',
            coco_images=data / 'train',
            coco_val_ann=data / 'annotations' / 'instances_val.json',
            coco_val_images=data / 'val',
        )
    else:
        pytest.importorskip('mmseg')
        args = options(
            SEGMENTATION,
            tmp_path,
            iters=2,
            scale=(120, 90),
            crop=(64, 64),
            seg_data=data,
            seg_classes='11',
        )
    cfg = build_config(args)
    cfg.val_dataloader.dataset.indices = 4
    assert fine_tune(cfg, 'random')
