"""``tools/train.py CONFIG --init-from FILE`` as users call it."""

import sys

import torch

from tests.transfer import foreign

from ..cli.test_train import PRESET, ROOT, SMALL, images, tool  # noqa: F401


def start(folder, tmp_path, *more):
    """Train from a ResNet-18 of torchvision's layout."""
    torch.save(foreign.torchvision()[0], tmp_path / 'released.pth')
    return tool(
        sys.executable,
        ROOT / 'tools' / 'train.py',
        PRESET,
        '--init-from',
        tmp_path / 'released.pth',
        '--work-dir',
        tmp_path / 'run',
        '--cfg-options',
        f'data_root={folder}',
        *SMALL,
        *more,
    )


def test_training_starts_from_the_file(images, tmp_path):  # noqa: F811
    # Without a learning rate, weights stay where they started.
    done = start(images, tmp_path, 'optim_wrapper.optimizer.lr=0')
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert 'Starting from' in done.stdout + done.stderr
    assert 'Epoch(train) [1][4/4]' in done.stdout + done.stderr
    saved = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=False)
    weights = foreign.backbone(1)
    learnt = [key for key in weights if key.endswith(('weight', 'bias'))]
    assert len(learnt) == 60
    for key in learnt:
        for prefix in ('backbone.', 'momentum_encoder.backbone.'):
            assert torch.equal(saved['state_dict'][prefix + key], weights[key]), prefix + key


def test_a_file_of_another_depth_ends_it(images, tmp_path):  # noqa: F811
    done = start(images, tmp_path, 'model.backbone.depth=34')
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    message = done.stderr[done.stderr.index('error: --init-from') :]
    assert 'released.pth' in message and 'missing' in message
    assert 'Epoch(train)' not in done.stdout + done.stderr
    assert not list((tmp_path / 'run').glob('*.pth'))
