"""No tool runs code that a checkpoint brings along."""

import os
import pickle
import re
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image

from dense_ssl.errors import TransferError
from dense_ssl.transfer.checkpoint import guard_mmengine
from tests.finetune.tiny_data import write_coco

from ..engine.runs import ROOT, config, environment, image_folder

DENSECL = 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'
MRCNN = 'configs/benchmarks/mmdetection/mask-rcnn_r50_fpn_1x_coco.py'
CLASSIFIER = 'configs/benchmarks/mmpretrain/linear_resnet50_8xb32-steplr-100e_in1k.py'
CONFIG, EVIL, WORK, OUT, COCO, IMAGES, CLASSES, SEG, NEW = (
    '<config> <evil> <work> <out> <coco> <images> <classes> <seg> <new>'.split()
)
TRAIN = (CONFIG, '--work-dir', WORK)
TUNE = (MRCNN, '--small', '32', '--work-dir', WORK, '--coco-ann', COCO, '--coco-images', IMAGES)
#: For each tool that says "checkpoint" in its own file, its ways to give it one.
WAYS = {
    'tools/train.py': [
        (*TRAIN, '--resume', EVIL),
        (*TRAIN, '--resume'),
        (*TRAIN, '--init-from', EVIL),
        (*TRAIN, '--cfg-options', f'load_from={EVIL}'),
        (*TRAIN, '--cfg-options', '+model.backbone.init_cfg.type=Pretrained',
         f'+model.backbone.init_cfg.checkpoint={EVIL}'),
    ],
    'tools/finetune.py': [
        (*TUNE, '--init-from', EVIL),
        (*TUNE, '--init-from', 'random', '--resume', EVIL),
        (*TUNE, '--init-from', 'random', '--resume'),
    ],
    'tools/test.py': [(MRCNN, EVIL, '--small', '32', '--work-dir', WORK)],
    'tools/check_transfer.py': [(MRCNN, EVIL)],
    'tools/convert/export_checkpoint.py': [(EVIL, OUT, '--to', 'torchvision')],
    'tools/convert/import_checkpoint.py': [(EVIL, OUT)],
    'tools/benchmarks/mmpretrain/knn.py': [
        (CLASSIFIER, '--checkpoint', EVIL, '--image-folder', CLASSES),
    ],
    'tools/benchmarks/run_suite.py': [(EVIL, '--smoke', '--work-dir', WORK)],
    'tools/analysis/features.py': [(CONFIG, EVIL, '--images', IMAGES, '--out', f'{OUT}.npz')],
    'tools/analysis/probe.py': [(CONFIG, EVIL, '--seg-data', SEG, '--seg-classes', '2')],
    'tools/compare.py': [
        ('--methods', EVIL, '--images', IMAGES, '--seg-data', SEG, '--seg-classes', '2',
         '--work-dir', NEW, '--dry-run'),
    ],
    'tools/analysis/visualize.py': [
        ('curves', EVIL, '--out', OUT),
        ('pca', CONFIG, EVIL, '--images', IMAGES, '--out', OUT),
    ],
}  # fmt: skip


class Evil:
    """Leaves a file where its pickle is read without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


@pytest.fixture
def evil(tmp_path):
    """A training checkpoint that runs code, and the file that it would leave."""
    trace = tmp_path / 'trace'
    path = tmp_path / 'evil.pth'
    meta = dict(epoch=1, iter=3, evil=Evil(trace))
    state = dict(state_dict={'a': torch.ones(2)}, message_hub={}, optimizer={}, meta=meta)
    torch.save(state, path)
    return path, trace


def test_the_file_is_evil(evil):
    torch.load(evil[0], weights_only=False)
    assert evil[1].exists()


def test_every_tool_is_tried():
    tools = [p for p in (ROOT / 'tools').rglob('*.py') if re.search('checkpoint', p.read_text())]
    known = {*WAYS, 'tools/quickstart.py'}
    found = {str(p.relative_to(ROOT)) for p in tools}
    reading = {
        p
        for p in found
        if re.search(r'add_argument\([^)]*checkpoint|_parser', (ROOT / p).read_text())
    }
    assert reading - known == set() and not {*WAYS} - found - {'tools/train.py'}


@pytest.mark.slow
@pytest.mark.parametrize(
    'tool, words, kind',
    [(tool, words, 'torch') for tool, ways in WAYS.items() for words in ways]
    + [('tools/train.py', words, 'pickle') for words in WAYS['tools/train.py'][:2]],
)
def test_no_code_is_run(tmp_path, evil, tool, words, kind):
    path, trace = evil
    if kind == 'pickle':
        path.write_bytes(pickle.dumps(dict(state_dict=Evil(trace))))
    work = tmp_path / 'work'
    work.mkdir()
    shutil.copy(path, work / 'epoch_1.pth')
    (work / 'last_checkpoint').write_text(str(work / 'epoch_1.pth'))
    cfg = config(DENSECL, image_folder(tmp_path / 'images', 9), work, **{'model.queue_len': 8})
    cfg.custom_imports = dict(imports=['tests.models.tiny'], allow_failed_imports=False)
    cfg.overwrite = True
    if 'init_cfg' in str(words):
        cfg.model.backbone = dict(type='mmpretrain.ResNet', depth=18)
        cfg.model.projector.in_channels = 512
    cfg.dump(tmp_path / 'config.py')
    names = {CONFIG: tmp_path / 'config.py', EVIL: path, WORK: work, OUT: tmp_path / 'out.pth'}
    names[COCO], names[IMAGES] = write_coco(tmp_path / 'coco')
    names[CLASSES] = tmp_path / 'classes'
    for split in ('train/a', 'train/b', 'val/a', 'val/b'):
        image_folder(names[CLASSES] / split, 2)
    names[SEG], names[NEW] = tmp_path / 'seg', tmp_path / 'new'
    for split in ('train', 'val'):
        image_folder(names[SEG] / 'img_dir' / split, 2, size=32)
        (names[SEG] / 'ann_dir' / split).mkdir(parents=True)
        for i in range(2):
            labels = np.indices((32, 32 + i)).sum(0).astype(np.uint8) % 2
            Image.fromarray(labels).save(names[SEG] / 'ann_dir' / split / f'{i:03}.png')
    command = [sys.executable, ROOT / tool]
    for word in words:
        for name, value in names.items():
            word = word.replace(name, str(value))
        command.append(word)
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    said = done.stdout + done.stderr
    assert not trace.exists(), said[-3000:]
    assert done.returncode != 0, said[-3000:]
    assert str(path.name) in said or 'epoch_1.pth' in said, said[-3000:]
    if kind == 'torch' and tool != 'tools/benchmarks/run_suite.py':
        assert 'would run code of the file' in said, said[-3000:]


def test_a_file_from_elsewhere(evil, monkeypatch, tmp_path):
    """What mmengine fetches is read with the same care, the right file as before."""
    from mmengine.runner import CheckpointLoader

    monkeypatch.setattr(CheckpointLoader, 'load_checkpoint', CheckpointLoader.load_checkpoint)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    guard_mmengine()
    good = tmp_path / 'good.pth'
    torch.save(dict(state_dict={'a': torch.ones(2)}), good)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = f'http://127.0.0.1:{server.server_port}'
            content = CheckpointLoader.load_checkpoint(f'{address}/good.pth', 'cpu')
            assert content['state_dict']['a'].sum() == 2
            with pytest.raises(TransferError, match='would run code'):
                CheckpointLoader.load_checkpoint(f'{address}/evil.pth', 'cpu')
        finally:
            server.shutdown()
    assert not evil[1].exists()
    with pytest.raises(TransferError, match='would run code'):
        CheckpointLoader.load_checkpoint(str(evil[0]))
