"""``--channels``: from pre-training on many bands to detectors and segmenters of as many."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest import approx
from torch import nn

from dense_ssl.cli.arguments import train_parser
from dense_ssl.cli.build import build_config, build_runner
from dense_ssl.errors import UserError
from dense_ssl.transfer.init_from import init_from
from dense_ssl.transfer.strict_loading import Part, load_part, other_bands

from ..finetune.test_benchmark_configs import DETECTION, SEGMENTATION, options

ROOT = Path(__file__).resolve().parents[2]
PRESET = ROOT / 'configs/densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'


def write(folder, number, count=8, size=64):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        values = rng.integers(0, 200, (size, size, number)) + np.arange(number) * 10
        np.save(folder / f'{i}.npy', values.astype(np.uint8))
    return folder


def merged(tmp_path, *words):
    words = [str(PRESET), '--work-dir', str(tmp_path / 'run'), *map(str, words)]
    return build_config(train_parser().parse_args(words))


def test_a_config_of_many_bands(tmp_path):
    cfg = merged(tmp_path, '--data', write(tmp_path / 'a', 5), '--channels', 5)
    assert cfg.model.backbone.in_channels == 5 and cfg.channels == 5
    load, views, _ = cfg.train_dataloader.dataset.pipeline
    color = views.transforms[0][1]
    assert load.channels == 5
    assert (color.saturation, color.hue, color.grayscale_prob) == (0, 0, 0)
    assert color.brightness and color.contrast and color.blur_prob  # as they were
    values = np.concatenate([np.load(p).reshape(-1, 5) for p in (tmp_path / 'a').iterdir()])
    assert np.allclose(cfg.data_preprocessor.mean, values.mean(0), atol=1e-3)
    assert np.allclose(cfg.data_preprocessor.std, values.std(0), atol=1e-3)
    assert merged(tmp_path, '--channels', 3).get('channels') is None
    with pytest.raises(UserError, match='--channels 0'):
        merged(tmp_path, '--channels', 0)


def test_given_statistics_stay(tmp_path):
    given = ['data_preprocessor.mean=[1,2]', 'data_preprocessor.std=[3,4]']
    cfg = merged(tmp_path, '--data', 'absent', '--channels', 2, '--cfg-options', *given)
    assert (cfg.data_preprocessor.mean, cfg.data_preprocessor.std) == ([1, 2], [3, 4])
    with pytest.raises(UserError, match='must have 4 numbers each'):
        merged(tmp_path, '--data', 'absent', '--channels', 4, '--cfg-options', *given)


def test_files_of_another_number_of_bands_are_named(tmp_path):
    with pytest.raises(UserError, match='0.npy: it has 5 bands, 4 are wanted'):
        merged(tmp_path, '--data', write(tmp_path / 'a', 5), '--channels', 4)


@pytest.mark.parametrize('number', [1, 2, 3, 4, 7])
def test_a_convolution_of_rgb_for_other_bands(number):
    """As much comes in as before: of an image with all bands alike, the response is the same."""
    conv = nn.Conv2d(3, 8, 7, bias=False)
    image = torch.rand(1, 1, 16, 16)
    wanted = conv(image.expand(-1, 3, -1, -1))
    if number % 3 and number > 1:  # in turn: some of the three come once more than others
        conv.weight.data[:] = conv.weight.data.mean(1, keepdim=True)
        wanted = conv(image.expand(-1, 3, -1, -1))
    got = nn.functional.conv2d(image.expand(-1, number, -1, -1), other_bands(conv.weight, number))
    assert torch.allclose(got, wanted, atol=1e-5)


def test_only_a_backbone_takes_rgb_for_other_bands():
    from mmpretrain.models import ResNet

    rgb, four = ResNet(18), ResNet(18, in_channels=4)
    weights = rgb.state_dict()
    report = load_part(four, weights, Part('', '', 'backbone'))
    assert 'for 4 bands' in '\n'.join(report.parts[0].notes)
    assert torch.equal(four.conv1.weight, other_bands(rgb.conv1.weight, 4))
    with pytest.raises(UserError, match='conv1.weight'):
        load_part(ResNet(18), four.state_dict(), Part('', '', 'backbone'))
    with pytest.raises(UserError, match='conv1.weight'):
        load_part(four, weights, Part('', '', 'model'))


@pytest.fixture(scope='module', params=[1, 4])
def run(request, tmp_path_factory):
    """A pre-training on 1 or 4 bands: their number, and its checkpoint."""
    number, root = request.param, tmp_path_factory.mktemp('run')
    words = ['--data', write(root / 'a', number), '--channels', number, '--view-size', 64]
    small = 'backbone.depth=18 projector.in_channels=512 projector.hidden_channels=8 queue_len=4'
    cfg = merged(
        root, *words, '--batch-size', 4, '--workers', 0, '--epochs', 1, '--cfg-options',
        *(f'model.{word}' for word in small.split()), f'+experiment_name={root.name}',
    )  # fmt: skip
    runner = build_runner(cfg)
    runner.train()
    checkpoint = root / 'run/epoch_1.pth'
    meta = torch.load(checkpoint, weights_only=False)['meta']
    assert np.allclose(meta['normalization']['mean'], cfg.data_preprocessor.mean)
    return number, checkpoint, cfg, runner.model


def test_warm_start_from_rgb(run, tmp_path):
    number, _, _, model = run
    from mmpretrain.models import ResNet

    rgb = ResNet(18).state_dict()
    torch.save({f'backbone.{k}': v for k, v in rgb.items()}, tmp_path / 'rgb.pth')
    init_from(model, str(tmp_path / 'rgb.pth'))
    wanted = other_bands(rgb['conv1.weight'], number)
    assert torch.equal(model.backbone.conv1.weight, wanted)


@pytest.mark.slow
def test_segmentation_of_as_many_bands(run, tmp_path):
    pytest.importorskip('mmseg')
    from PIL import Image

    from dense_ssl.finetune import fine_tune, test

    number, checkpoint, pretraining, _ = run
    for split in ('train', 'val'):
        write(tmp_path / 'img_dir' / split, number, 3)
        (tmp_path / 'ann_dir' / split).mkdir(parents=True)
        labels = (np.arange(64 * 64).reshape(64, 64) % 2).astype(np.uint8)
        for i in range(3):
            Image.fromarray(labels).save(tmp_path / f'ann_dir/{split}/{i}.png')
    asked = dict(channels=number, crop=(64, 64), seg_data=tmp_path, seg_classes='2', scale=(64, 64))
    cfg = build_config(options(SEGMENTATION, tmp_path, **asked))
    metrics = fine_tune(cfg, str(checkpoint))
    assert 'mIoU' in metrics
    assert cfg.model.data_preprocessor.mean == approx(pretraining.data_preprocessor.mean)
    tested = build_config(options(SEGMENTATION, tmp_path / 'test', **asked))
    assert test(tested, str(tmp_path / 'work/iter_1.pth'))['mIoU'] == approx(metrics['mIoU'])


@pytest.mark.slow
def test_detection_of_as_many_bands(run, tmp_path):
    pytest.importorskip('mmdet')
    from dense_ssl.finetune import fine_tune

    number, checkpoint, pretraining, _ = run
    images = write(tmp_path / 'images', number, 4)
    content = dict(
        images=[dict(id=i + 1, file_name=f'{i}.npy', width=64, height=64) for i in range(4)],
        annotations=[
            dict(id=i + 1, image_id=i + 1, category_id=1, bbox=[5, 5, 30, 30], area=900, iscrowd=0)
            for i in range(4)
        ],
        categories=[dict(id=1, name='thing')],
    )
    (tmp_path / 'a.json').write_text(json.dumps(content))
    asked = dict(channels=number, scale=(64, 64), coco_ann=tmp_path / 'a.json', coco_images=images)
    cfg = build_config(options(DETECTION, tmp_path, coco_val_ann=tmp_path / 'a.json', **asked))
    assert 'coco/bbox_mAP' in fine_tune(cfg, str(checkpoint))
    assert cfg.model.data_preprocessor.mean == approx(pretraining.data_preprocessor.mean)
