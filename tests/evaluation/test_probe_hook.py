"""The probe while a run trains: it scores, keeps the best, and changes nothing."""

import json

import pytest
import torch

from dense_ssl.errors import UserError
from dense_ssl.evaluation import DenseProbeHook
from tests.engine.runs import config, finish, image_folder, train

from .test_dense_probe import write_images

DENSECL = 'densecl/densecl_resnet50_1xb64-coslr-20k_small.py'


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'), 9, size=40)  # 2 steps an epoch


def recipe(images, work_dir):
    cfg = config(DENSECL, images, work_dir, **{'model.queue_len': 8})
    cfg.model.backbone = dict(
        type='ResNet', depth=18, base_channels=8, stem_channels=8,
        strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2),
    )  # fmt: skip
    cfg.model.projector.in_channels = None
    cfg.default_hooks.checkpoint.interval = 100
    cfg.train_dataloader.dataset.pipeline[1].view_size = 32  # two cells a side
    cfg.train_cfg = dict(type='StepTrainLoop', max_iters=5)
    cfg.param_scheduler = []
    return cfg


def test_a_run_is_scored_and_not_changed(images, tmp_path, monkeypatch):
    plain, without = train(recipe(images, tmp_path / 'a'))
    cfg = recipe(images, tmp_path / 'b')
    pairs = [write_images(tmp_path / split, 2, 0) for split in ('train', 'val')]
    as_text = [[(str(a), str(b)) for a, b in split] for split in pairs]
    cfg.custom_hooks.append(
        dict(type='dense_ssl.evaluation.probe_hook.DenseProbeHook', train=as_text[0],
             val=as_text[1], num_classes=3, interval=2, scale=(48, 32), keep_best=True)
    )  # fmt: skip
    scores = iter([30.0, 50.0, 40.0])
    probe = DenseProbeHook._probe
    real = []
    monkeypatch.setattr(
        DenseProbeHook, '_probe', lambda *args: (real.append(probe(*args)), next(scores))[1]
    )
    probed, with_it = train(cfg)
    assert with_it.losses == without.losses
    for key, value in plain.model.state_dict().items():
        assert torch.equal(value, probed.model.state_dict()[key]), key
    assert len(real) == 3 and all(0 <= score <= 100 for score in real)  # after 2, 4 and 5
    best = torch.load(tmp_path / 'b' / 'best_probe_mIoU.pth', weights_only=False)
    assert best['meta']['iter'] == 4 and 'optimizer' not in best
    logged = (next((tmp_path / 'b').glob('*/vis_data/scalars.json'))).read_text().splitlines()
    found = [json.loads(line) for line in logged if 'probe_mIoU' in line]
    assert [line['step'] for line in found] == [2, 4, 5]
    assert [line['probe_mIoU'] for line in found] == pytest.approx(real)


def test_the_command(images, tmp_path):
    for split in ('train', 'val'):
        for image, label in write_images(tmp_path / split, 2, 0):
            for kind, path in (('img_dir', image), ('ann_dir', label)):
                target = tmp_path / 'data' / kind / split / image.name
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
    cfg = recipe(images, tmp_path / 'run')
    cfg.log_level = 'INFO'
    words = ('--probe', tmp_path / 'data', '--probe-scale', 48, 32, '--keep-best')
    code, output = finish(cfg, *words)
    assert code and '--seg-classes is needed' in output
    code, output = finish(cfg, *words, '--seg-classes', 3)
    assert code == 0 and output.count('Probe after') == 5, output
    assert (tmp_path / 'run' / 'best_probe_mIoU.pth').is_file()
    code, output = finish(cfg, '--keep-best', '--overwrite')
    assert code and 'need --probe' in output


def test_an_interval_of_nothing():
    with pytest.raises(UserError, match='interval=0'):
        DenseProbeHook([], [], 2, 0)
