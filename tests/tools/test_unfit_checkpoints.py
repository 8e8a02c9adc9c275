"""A checkpoint that does not fit ends tools/train.py and tools/test.py."""

import sys

import pytest
import torch

from tests.transfer import foreign

from ..cli.test_train import PRESET, ROOT, SMALL, images, tool  # noqa: F401

CLASSIFIER = """
default_scope = 'dense_ssl'
model = dict(
    type='mmpretrain.ImageClassifier',
    data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor',
                           num_classes=2),
    backbone=dict(type='mmpretrain.ResNet', depth=18),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(type='mmpretrain.LinearClsHead', num_classes=2,
              in_channels=512))
test_dataloader = dict(
    batch_size=4,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmpretrain.CustomDataset', data_root='{data}',
        pipeline=[dict(type='mmpretrain.LoadImageFromFile'),
                  dict(type='mmpretrain.Resize', scale=(32, 32)),
                  dict(type='mmpretrain.PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_cfg = dict()
test_evaluator = dict(type='mmpretrain.Accuracy', topk=(1, ))
"""


def refusal(done, start):
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-4000:]
    assert 'Traceback' not in done.stderr
    assert 'Epoch(' not in done.stdout + done.stderr
    return done.stderr[done.stderr.index(f'error: {start}') :]


@pytest.mark.parametrize(
    'options, name, text',
    [
        (['--cfg-options', 'load_from={}'], 'load_from={}', 'does not fit the model: 0 of its'),
        (
            ['--resume', '{}', '--cfg-options'],
            '--resume {}',
            'is no checkpoint that a run can go on from',
        ),
    ],
)
def test_training_does_not_start(tmp_path, options, name, text):
    path = tmp_path / 'released.pth'
    torch.save(foreign.torchvision()[0], path)
    done = tool(
        sys.executable,
        ROOT / 'tools' / 'train.py',
        PRESET,
        '--work-dir',
        tmp_path / 'run',
        *(option.format(path) for option in options),
        *SMALL,
    )
    said = refusal(done, name.format(path))
    assert text in said and f'--init-from {path}' in said


def test_testing(images, tmp_path):  # noqa: F811
    data = tmp_path / 'data'
    for name in 'ab':
        (data / name).mkdir(parents=True)
        (data / name / 'x.png').symlink_to(images / '0.png')
    cfg = tmp_path / 'classifier.py'
    cfg.write_text(CLASSIFIER.replace('{data}', str(data)))
    state = {f'backbone.{k}': v for k, v in foreign.backbone(1).items()}
    path = tmp_path / 'a.pth'
    command = [
        sys.executable,
        ROOT / 'tools' / 'test.py',
        cfg,
        path,
        '--work-dir',
        tmp_path / 'run',
    ]
    torch.save(dict(state_dict=state), path)
    said = refusal(tool(*command), f'checkpoint {path}')
    assert f'does not fit the model: {len(state)} of its {len(state) + 2}' in (said)
    assert 'nothing of head' in said
    state.update({'head.fc.weight': torch.ones(2, 512), 'head.fc.bias': torch.zeros(2)})
    torch.save(dict(state_dict=state), path)
    done = tool(*command)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert 'accuracy/top1' in done.stdout + done.stderr
    (data / 'b' / 'y.png').write_bytes(b'')
    said = tool(*command).stderr
    assert 'error: test: 1 of 3' in said and 'y.png' in said
