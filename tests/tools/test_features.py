"""Features of images in a file."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmpretrain.models import ResNet
from PIL import Image

from dense_ssl.datasets.packing import pack_images

from ..transfer.small_models import distinct

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
_base_ = '{root}/configs/densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'
model = dict(backbone=dict(depth=18), projector=dict(in_channels=512, hidden_channels=8))
"""


@pytest.fixture(scope='module')
def given(tmp_path_factory):
    """Config, checkpoint, images of two sizes, and the backbone."""
    root = tmp_path_factory.mktemp('features')
    (root / 'config.py').write_text(CONFIG.format(root=ROOT))
    rng = np.random.default_rng(0)
    (root / 'images/b').mkdir(parents=True)
    for i, name in enumerate(('1.png', '2.png', '3.png', 'b/4.png', 'b/5.png')):
        shape = (64, 96) if i in (0, 1, 4) else (70, 64)
        Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8)).save(root / 'images' / name)
    backbone = ResNet(18, out_indices=(2, 3))
    other = distinct(ResNet(18))
    backbone.init_weights()
    weights = {f'backbone.{k}': v for k, v in backbone.state_dict().items()}
    weights.update({f'momentum_encoder.backbone.{k}': v.abs() for k, v in other.items()})
    torch.save(dict(state_dict=weights), root / 'checkpoint.pth')
    backbone.eval()
    return root, backbone


def features(given, monkeypatch, *words, images='images', checkpoint='checkpoint.pth'):
    root = given[0]
    checkpoint = checkpoint if checkpoint == 'random' else root / checkpoint
    words = [root / 'config.py', checkpoint, '--images', root / images, *words]
    monkeypatch.setattr(sys, 'argv', ['x', *map(str, words), '--out', str(root / 'out.npz')])
    runpy.run_path(str(ROOT / 'tools/analysis/features.py'), run_name='__main__')
    return np.load(root / 'out.npz')


def test_every_image_by_its_name(given, monkeypatch):
    root, backbone = given
    found = features(given, monkeypatch, '--stages', 3, 2, '--maps', '--batch-size', 2)
    assert found['names'].tolist() == ['1.png', '2.png', '3.png', 'b/4.png', 'b/5.png']
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in ((123.675, 116.28, 103.53),
                                                        (58.395, 57.12, 57.375)))  # fmt: skip
    for i, name in enumerate(found['names']):
        image = torch.from_numpy(np.array(Image.open(root / 'images' / name))).permute(2, 0, 1)
        with torch.no_grad():
            wanted = backbone(((image - mean) / std)[None])
        for stage, each in zip((2, 3), wanted):
            assert np.allclose(found[f'stage{stage}'][i], each[0].mean((1, 2)), atol=1e-4)
            assert np.allclose(found[f'map{stage}/{i}'], each[0], rtol=1e-2, atol=1e-2)
    assert set(found.files) == {'names', 'stage2', 'stage3'} | {
        f'map{stage}/{i}' for stage in (2, 3) for i in range(5)
    }


def test_packs_sizes_and_the_momentum_network(given, monkeypatch):
    root, _ = given
    pack_images(str(root / 'images'), str(root / 'pack.tar'))
    plain = features(given, monkeypatch)
    assert set(plain.files) == {'names', 'stage3'} and plain['stage3'].dtype == np.float32
    packed = features(given, monkeypatch, images='pack.tar')
    assert np.array_equal(plain['stage3'], packed['stage3'])
    small = features(given, monkeypatch, '--scale', 48, 32, '--maps')
    assert small['map3/0'].shape == (512, 1, 2) and small['map3/2'].shape == (512, 2, 1)
    momentum = features(given, monkeypatch, '--network', 'momentum')
    assert not np.allclose(plain['stage3'], momentum['stage3'])


def test_refusals(given, monkeypatch, capsys):
    for words, said in (
        (['--channels', 4], 'takes 4 channels'),
        (['--network', 'online', '--backbone-prefix', 'x.'], 'missing'),
    ):
        with pytest.raises(SystemExit):
            features(given, monkeypatch, *words)
        assert said in capsys.readouterr().err
