"""The verdicts of tools/check_transfer.py."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from ..transfer import foreign
from ..transfer.small_models import distinct, prefixed, resnet

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs' / 'benchmarks'
FPN = CONFIGS / 'mmdetection' / 'mask-rcnn_r50_fpn_1x_coco.py'
C4 = CONFIGS / 'mmdetection' / 'mask-rcnn_r50-c4_1x_coco.py'


@pytest.fixture(scope='module')
def weights():
    return distinct(resnet(50))


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):

    def run(config, state, *more):
        pytest.importorskip('mmdet')
        pytest.importorskip('mmseg')
        import dense_ssl  # noqa: F401

        path = tmp_path / 'x.pth'
        torch.save(dict(state_dict=state), path)
        monkeypatch.setattr(sys, 'argv', ['check_transfer.py', str(config), str(path), *more])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(ROOT / 'tools' / 'check_transfer.py'), run_name='__main__')
        said = capsys.readouterr()
        return stop.value.code, said.out + said.err

    return run


def mcl(weights, channels=256):
    from mmdet.models.necks import FPN as Neck

    from ..transfer.small_models import RegionHead

    neck = Neck([256, 512, 1024, 2048], channels, 5, norm_cfg=dict(type='BN'))
    return {
        **prefixed('backbone.', weights),
        **prefixed('neck.', neck.state_dict()),
        **prefixed('region_head.', RegionHead(channels).state_dict()),
    }


def test_a_right_pair(check, weights):
    code, said = check(FPN, mcl(weights))
    assert code == 0 and 'verdict: the checkpoint fits' in said
    for part in ('backbone', 'neck', 'region_head'):
        assert f'\n{part} ' in said
    assert 'rpn_head' in said.split('left at initial values')[1]


def test_parts_left_out_on_purpose(check, weights):
    code, said = check(FPN, mcl(weights), '--parts', 'backbone')
    assert code == 0 and 'note: the checkpoint has a pre-trained FPN' in said


def test_c4_takes_layer4_and_says_what_stays_unused(check, weights):
    code, said = check(C4, mcl(weights))
    assert code == 0
    assert 'roi_head.shared_head.layer4.*' in said
    assert 'note: the checkpoint has a pre-trained FPN' in said
    assert 'region_head.*' in said.split('in the file, not used')[1]


def test_the_deep_stem_trap(check, weights):
    state = prefixed('backbone.', weights)
    name = 'mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-769x769.py'
    code, said = check(name, state, '--cfg-options', 'model.pretrained=None')
    assert code == 1 and 'deep stem' in said and 'does not fit' in said
    # Every key, not the first few of them.
    assert said.count('stem.') >= 15 and 'more' not in said


def test_c4_and_fpn_mixed_up(check, weights):
    """A C4 detector's file in an FPN detector, and an FPN asked of C4."""
    state = {
        (f'roi_head.shared_head.{k}' if k.startswith('layer4') else f'backbone.{k}'): v
        for k, v in weights.items()
    }
    code, said = check(FPN, state)
    assert code == 1 and 'stops at layer3' in said and 'mixed up' in said
    code, said = check(C4, mcl(weights), '--parts', 'backbone,neck')
    assert code == 1 and 'neck' in said and 'not fit' in said


def test_another_depth(check):
    code, said = check(FPN, prefixed('backbone.', foreign.backbone(1)))
    assert code == 1 and 'ResNet-18' in said and 'ResNet-50' in said


def test_a_wrong_prefix(check, weights):
    state = prefixed('encoder_q.', weights)
    code, said = check(FPN, state)
    assert code == 1 and 'wrong prefix' in said and '"encoder_q."' in said
    code, said = check(FPN, state, '--backbone-prefix', 'encoder_q.')
    assert code == 0


def test_a_recipe_that_costs_accuracy(check, weights):
    state = prefixed('backbone.', weights)
    code, said = check('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', state)
    assert code == 1 and 'problem: the stem and 1 stages' in said
    assert 'problem(s) in the recipe' in said


def test_training_runs_the_same_check(tmp_path, weights):
    pytest.importorskip('mmdet')
    from dense_ssl.cli.config import load_config
    from dense_ssl.finetune import fine_tune
    from dense_ssl.transfer import TransferError

    torch.save(prefixed('backbone.', weights), tmp_path / 'x.pth')
    cfg = load_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    cfg.work_dir, cfg.launcher = str(tmp_path / 'work'), 'none'
    with pytest.raises(
        TransferError, match='stages of the backbone are frozen(.|\n)*--accept-recipe'
    ):
        fine_tune(cfg, str(tmp_path / 'x.pth'), strict_recipe=True)
    assert not (tmp_path / 'work').exists()
