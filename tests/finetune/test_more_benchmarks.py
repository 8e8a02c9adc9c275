"""Benchmarks of each kind take steps and validate, shrunk by options."""

import sys

import mmcv
import numpy as np
import pytest
import torch

from ..transfer.small_models import prefixed, resnet
from .test_benchmark_configs import CONFIGS, options
from .tiny_data import write_coco, write_segmentation


def train(config, tmp_path, **kwargs):
    from dense_ssl.cli.build import build_config
    from dense_ssl.finetune import fine_tune

    path = tmp_path / 'x.pth'
    torch.save(prefixed('backbone.', resnet().state_dict()), path)
    cfg = build_config(options(CONFIGS / config, tmp_path, **kwargs))
    return fine_tune(cfg, str(path), strict_recipe=True), cfg


@pytest.mark.slow
def test_voc_recipe_on_own_annotations(tmp_path):
    pytest.importorskip('mmdet')
    ann, images = write_coco(tmp_path, images=6)
    metrics, _ = train(
        'mmdetection/faster-rcnn_r50-c4_24k_voc0712.py',
        tmp_path,
        coco_ann=ann,
        coco_images=images,
        scale=(64, 64),
    )
    assert 'coco/bbox_mAP' in metrics and 'pascal_voc/AP' not in metrics


@pytest.mark.parametrize(
    'path', sorted(CONFIGS.glob('mmdetection/*.py')), ids=lambda path: path.stem
)
def test_own_annotations_replace_every_detectors_data(tmp_path, path):
    pytest.importorskip('mmdet')
    from dense_ssl.cli.build import build_config

    ann, images = write_coco(tmp_path, images=6)
    cfg = build_config(options(path, tmp_path, coco_ann=ann, coco_images=images))
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.type == 'CocoDataset'
        assert dataset.metainfo.classes == ('square', 'disc')
        assert dataset.data_prefix.img == str(images)
    assert cfg.val_evaluator.type == cfg.test_evaluator.type == 'CocoMetric'
    has_masks = cfg.model.type == 'MaskRCNN'
    assert cfg.val_evaluator.metric == (['bbox', 'segm'] if has_masks else 'bbox')


@pytest.mark.parametrize(
    'name', ['linear_r50-d8_4xb4-40k_voc12aug-512x512', 'fcn_r50-d8_4xb4-80k_ade20k-512x512']
)
def test_segmentors(tmp_path, name):
    pytest.importorskip('mmseg')
    data = write_segmentation(tmp_path / 'data')
    metrics, cfg = train(
        f'mmsegmentation/{name}.py',
        tmp_path,
        seg_data=data,
        seg_classes='a,b,c',
        scale=(64, 64),
        crop=(64, 64),
    )
    assert 'mIoU' in metrics
    assert cfg.train_dataloader.dataset.type == 'BaseSegDataset'


def test_cityscapes_layout_serves_other_recipes_too(tmp_path):
    pytest.importorskip('mmseg')
    from dense_ssl.cli.build import build_config

    data = write_segmentation(tmp_path / 'data', cityscapes=True)
    cfg = build_config(
        options(
            CONFIGS / 'mmsegmentation/linear_r50-d8_4xb4-40k_voc12aug-512x512.py',
            tmp_path,
            seg_data=data,
        )
    )
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
                mmcv.imwrite(
                    rng.randint(0, 255, (40, 40, 3), np.uint8),
                    str(tmp_path / f'data/{split}/{kind}/{i}.png'),
                )
    metrics, cfg = train(
        'mmpretrain/linear_resnet50_8xb32-steplr-100e_in1k.py',
        tmp_path,
        image_folder=tmp_path / 'data',
        iters=None,
        epochs=1,
    )
    assert 'accuracy/top1' in metrics
    assert cfg.model.head.num_classes == 3


def test_precise_norms_are_plain_averages():
    from mmengine.model import BaseModel

    from dense_ssl.finetune.precise_batch_norm import average_statistics

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
    model.norm.running_mean.fill_(9.0)
    average_statistics(model, batches)
    means = torch.stack([b['x'].mean((0, 2, 3)) for b in batches])
    variances = torch.stack([b['x'].transpose(0, 1).flatten(1).var(1) for b in batches])
    assert torch.allclose(model.norm.running_mean, means.mean(0), atol=1e-5)
    assert torch.allclose(model.norm.running_var, variances.mean(0), rtol=1e-5)
    assert model.norm.momentum == 0.1
    assert model.still.running_mean.eq(0).all()


def test_the_norm_hook_runs_before_validation_only():
    from types import SimpleNamespace

    from dense_ssl.finetune import precise_batch_norm as module

    hook = module.PreciseBatchNormHook(iterations=3)
    taken = []
    loop = SimpleNamespace(max_iters=10, val_interval=4, dataloader_iterator=iter(range(99)))
    runner = SimpleNamespace(
        train_loop=loop,
        val_loop=object(),
        iter=0,
        model=None,
        logger=SimpleNamespace(info=lambda text: None),
    )
    old = module.average_statistics
    module.average_statistics = lambda model, b: taken.append((runner.iter, len(list(b))))
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
    from dense_ssl.finetune.suite import SUITES

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
    (folder / 'metrics.json').write_text(
        json.dumps(
            dict(
                checkpoint='random',
                metrics={'pascal_voc/AP': 33.5, 'pascal_voc/AP50': 60.0, 'pascal_voc/AP75': 32.123},
            )
        )
    )
    arguments = ['random', '--suite', 'voc', '--work-dir', str(tmp_path)]
    # Nobody noted how these figures came about.
    assert run_suite(monkeypatch, *arguments) == 1
    assert 'holds results of something else' in capsys.readouterr().err
    (folder / 'suite_run.json').write_text(
        json.dumps(
            dict(
                checkpoint='random',
                sha256=None,
                seed=0,
                network='online',
                gpus=1,
                auto_scale_lr=False,
                smoke=False,
            )
        )
    )
    assert run_suite(monkeypatch, *arguments) == 0
    table = (tmp_path / 'suite.md').read_text()
    assert '| AP75 | 32.12 | random 33.1, supervised 58.8' in table
    rows = list(csv.DictReader((tmp_path / 'suite.csv').open()))
    assert dict(rows[0])['value'] == '33.5' and rows[0]['source'] == 'here'
    stored = json.loads((tmp_path / 'suite.json').read_text())
    assert stored['results'][0]['papers']['PixPro-400']['AP50'] == 83.8
    # A run with other settings must not take these for its own.
    other = tmp_path / 'other.pth'
    torch.save({'a': torch.ones(1)}, other)
    for changed, said in [
        ([str(other), *arguments[1:]], 'checkpoint=random'),
        ([*arguments, '--seed', '3'], 'seed=0 (now 3)'),
        ([*arguments, '--network', 'momentum'], 'network=online'),
        ([*arguments, '--smoke'], 'smoke=False (now True)'),
    ]:
        assert run_suite(monkeypatch, *changed) == 1
        assert said in capsys.readouterr().err


def test_an_interrupted_suite_goes_on(tmp_path, monkeypatch, capsys):
    """With training replaced by what it leaves behind."""
    import json
    from pathlib import Path

    started = []

    def train(words, **kwargs):
        if len(started) == 1:
            started.append('interrupted')
            raise KeyboardInterrupt
        started.append(Path(words[1]).stem)
        folder = Path(words[words.index('--work-dir') + 1])
        (folder / 'metrics.json').write_text(
            json.dumps(dict(checkpoint='random', metrics={'mIoU': 10.0 * len(started)}))
        )
        return 0

    monkeypatch.setattr('subprocess.call', train)
    arguments = ['random', '--suite', 'seg', '--work-dir', str(tmp_path)]
    assert run_suite(monkeypatch, *arguments) == 130
    assert 'the same command goes on' in capsys.readouterr().err
    table = (tmp_path / 'suite.md').read_text()
    assert table.count('to do') == 4 and '| mIoU | 10.0 |' in table
    (tmp_path / 'suite.md').unlink()
    assert run_suite(monkeypatch, *arguments) == 0
    assert len(set(started)) == len(started) == 6  # each once
    table = (tmp_path / 'suite.md').read_text()
    assert 'to do' not in table
    for figure in (10.0, 30.0, 40.0, 50.0, 60.0):
        assert f'| mIoU | {figure} |' in table
    assert '[1/5]' not in capsys.readouterr().out.rpartition('[2/5]')[2]


def test_a_failed_run_is_named_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('subprocess.call', lambda *args, **kwargs: 1)
    assert run_suite(monkeypatch, 'random', '--suite', 'probe', '--work-dir', str(tmp_path)) == 1
    assert capsys.readouterr().out.count('failed (exit code 1), see') == 3
    assert (tmp_path / 'suite.md').read_text().count('failed') == 3


@pytest.mark.slow
def test_a_smoke_run_writes_the_table(tmp_path, monkeypatch, capsys):
    pytest.importorskip('mmseg')
    arguments = ['random', '--suite', 'probe', '--smoke', '--work-dir', str(tmp_path)]
    assert run_suite(monkeypatch, *arguments) == 0
    table = (tmp_path / 'suite.md').read_text()
    assert 'failed' not in table and 'to do' not in table
    assert table.count('mIoU') == 2 and 'top-1' in table
    # Without its table and one run's figures, that run alone is taken up.
    (tmp_path / 'suite.md').unlink()
    (tmp_path / 'VOC12aug_linear' / 'metrics.json').unlink()
    capsys.readouterr()
    assert run_suite(monkeypatch, *arguments) == 0
    said = capsys.readouterr().out
    assert '[1/3] VOC12aug linear' in said
    assert '[2/3]' not in said and '[3/3]' not in said
    assert (tmp_path / 'suite.md').read_text() == table
