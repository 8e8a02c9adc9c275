"""Benchmarks of each kind take steps and validate, shrunk by options."""
import sys

import mmcv
import numpy as np
import pytest
import torch

from .small_models import prefixed, resnet
from .test_benchmark_configs import CONFIGS, options
from .tiny_data import write_coco, write_segmentation


def train(config, tmp_path, **kwargs):
    from dense_ssl.transfer.benchmarks import build_config, fine_tune
    path = tmp_path / 'x.pth'
    torch.save(prefixed('backbone.', resnet().state_dict()), path)
    cfg = build_config(options(CONFIGS / config, tmp_path, **kwargs))
    return fine_tune(cfg, str(path), strict_recipe=True), cfg


@pytest.mark.parametrize('name', [
    pytest.param('faster-rcnn_r50-c4_24k_voc0712', marks=pytest.mark.slow),
    pytest.param('mask-rcnn_r50-c4_1x_coco', marks=pytest.mark.slow),
    pytest.param('retinanet_r50_fpn_1x_coco', marks=pytest.mark.slow),
    'fcos_r50_fpn_1x_coco', 'mask-rcnn_r50_fpn_24k_cityscapes'])
def test_detectors(tmp_path, name):
    pytest.importorskip('mmdet')
    ann, images = write_coco(tmp_path, images=6)
    metrics, cfg = train(f'mmdetection/{name}.py', tmp_path, coco_ann=ann,
                         coco_images=images, scale=(64, 64))
    assert 'coco/bbox_mAP' in metrics
    assert cfg.train_dataloader.dataset.type == 'CocoDataset'


@pytest.mark.parametrize('name', [
    'linear_r50-d8_4xb4-40k_voc12aug-512x512',
    'fcn-d6_r50-d16_4xb4-30k_voc12aug-513x513',
    'fcn_r50-d8_4xb4-80k_ade20k-512x512'])
def test_segmentors(tmp_path, name):
    pytest.importorskip('mmseg')
    data = write_segmentation(tmp_path / 'data')
    metrics, cfg = train(
        f'mmsegmentation/{name}.py', tmp_path, seg_data=data,
        seg_classes='a,b,c', scale=(64, 64), crop=(64, 64))
    assert 'mIoU' in metrics
    assert cfg.train_dataloader.dataset.type == 'BaseSegDataset'
    if name.startswith('linear'):
        saved = torch.load(tmp_path / 'work' / 'iter_1.pth',
                           weights_only=False)['state_dict']
        given = torch.load(tmp_path / 'x.pth')
        for key, value in given.items():  # frozen, statistics too
            assert torch.equal(saved[key], value), key


def test_cityscapes_layout_serves_other_recipes_too(tmp_path):
    pytest.importorskip('mmseg')
    from dense_ssl.transfer.benchmarks import build_config
    data = write_segmentation(tmp_path / 'data', cityscapes=True)
    cfg = build_config(options(
        CONFIGS / 'mmsegmentation/linear_r50-d8_4xb4-40k_voc12aug-512x512.py',
        tmp_path, seg_data=data))
    for split in ('train', 'val'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.type == 'CityscapesDataset'
        assert dataset.data_prefix.img_path == f'leftImg8bit/{split}'
        assert 'datasets' not in dataset and 'ann_file' not in dataset
    assert cfg.model.decode_head.num_classes == 19


def test_image_classification_probe(tmp_path):
    rng = np.random.RandomState(0)
    for split in ('train', 'val'):
        for kind in ('a', 'b', 'c'):
            for i in range(2):
                mmcv.imwrite(rng.randint(0, 255, (40, 40, 3), np.uint8),
                             str(tmp_path / f'data/{split}/{kind}/{i}.png'))
    metrics, cfg = train(
        'mmpretrain/linear_resnet50_8xb32-steplr-100e_in1k.py', tmp_path,
        image_folder=tmp_path / 'data', iters=None, epochs=1)
    assert 'accuracy/top1' in metrics
    assert cfg.model.head.num_classes == 3


def test_precise_norms_are_plain_averages():
    from mmengine.model import BaseModel

    from dense_ssl.transfer.precise_batch_norm_hook import average_statistics

    class Toy(BaseModel):

        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(2)
            self.still = torch.nn.BatchNorm2d(2)

        def forward(self, x, mode='loss'):
            return dict(loss=self.still(self.norm(x)).sum())

    model = Toy()
    model.train()
    model.still.eval()
    batches = [dict(x=torch.randn(3, 2, 4, 4) * (i + 1)) for i in range(5)]
    model.norm.running_mean.fill_(9.)
    average_statistics(model, batches)
    means = torch.stack([b['x'].mean((0, 2, 3)) for b in batches])
    variances = torch.stack([
        b['x'].transpose(0, 1).flatten(1).var(1) for b in batches])
    assert torch.allclose(model.norm.running_mean, means.mean(0), atol=1e-5)
    assert torch.allclose(model.norm.running_var, variances.mean(0),
                          rtol=1e-5)
    assert model.norm.momentum == 0.1
    assert model.still.running_mean.eq(0).all()


def test_the_norm_hook_runs_before_validation_only():
    from types import SimpleNamespace

    from dense_ssl.transfer import precise_batch_norm_hook as module
    hook = module.PreciseBatchNormHook(iterations=3)
    taken = []
    loop = SimpleNamespace(
        max_iters=10, val_interval=4, dataloader_iterator=iter(range(99)))
    runner = SimpleNamespace(
        train_loop=loop, val_loop=object(), iter=0, model=None,
        logger=SimpleNamespace(info=lambda text: None))
    old = module.average_statistics
    module.average_statistics = lambda model, b: taken.append(
        (runner.iter, len(list(b))))
    try:
        for runner.iter in range(10):
            hook.after_train_iter(runner, runner.iter)
    finally:
        module.average_statistics = old
    assert taken == [(3, 3), (7, 3), (9, 3)]


def run_suite(monkeypatch, *arguments):
    import runpy
    tool = CONFIGS.parents[1] / 'tools' / 'benchmarks' / 'run_suite.py'
    monkeypatch.setattr(sys, 'argv', ['run_suite.py', *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(tool), run_name='__main__')
    return stop.value.code


def test_a_dry_run_lists_every_run(monkeypatch, capsys):
    from dense_ssl.transfer.benchmarks.suite import SUITES
    assert run_suite(monkeypatch, 'x.pth', '--dry-run') == 0
    said = capsys.readouterr().out
    for run in SUITES['all']:
        assert run.config in said and (CONFIGS / run.config).is_file()
    assert said.count('dist_train.sh') == len(SUITES['all'])


def test_the_table_resumes_and_has_the_papers(tmp_path, monkeypatch, capsys):
    import csv
    import json
    folder = tmp_path / 'VOC07+12_Faster_R-CNN_C4_24k'
    folder.mkdir()
    (folder / 'metrics.json').write_text(json.dumps(dict(
        checkpoint='random', metrics={
            'pascal_voc/AP': 33.5, 'pascal_voc/AP50': 60.,
            'pascal_voc/AP75': 32.123})))
    arguments = ['random', '--suite', 'voc', '--work-dir', str(tmp_path)]
    assert run_suite(monkeypatch, *arguments) == 0
    table = (tmp_path / 'suite.md').read_text()
    assert '| AP75 | 32.12 | random 33.1, supervised 58.8' in table
    rows = list(csv.DictReader((tmp_path / 'suite.csv').open()))
    assert dict(rows[0])['value'] == '33.5' and rows[0]['source'] == 'here'
    stored = json.loads((tmp_path / 'suite.json').read_text())
    assert stored['results'][0]['papers']['PixPro-400']['AP50'] == 83.8
    # Another checkpoint must not take these for its own.
    other = tmp_path / 'other.pth'
    torch.save({'a': torch.ones(1)}, other)
    arguments[0] = str(other)
    assert run_suite(monkeypatch, *arguments) == 1
    assert 'holds results of random' in capsys.readouterr().err


@pytest.mark.slow
def test_a_smoke_run_writes_the_table(tmp_path, monkeypatch):
    pytest.importorskip('mmseg')
    arguments = ['random', '--suite', 'probe', '--smoke', '--work-dir',
                 str(tmp_path)]
    assert run_suite(monkeypatch, *arguments) == 0
    table = (tmp_path / 'suite.md').read_text()
    assert 'failed' not in table and 'to do' not in table
    assert table.count('mIoU') == 2 and 'top-1' in table
