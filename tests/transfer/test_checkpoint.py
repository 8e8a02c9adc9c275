"""Reading checkpoint files without running their code."""

import os

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from dense_ssl.transfer import TransferError, read_checkpoint
from dense_ssl.transfer.safe_pickle import restricted_pickle_module


class RunsCode:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def training_checkpoint() -> dict:
    """What mmengine saves: weights, and a message hub of its own classes."""
    buffer = HistoryBuffer()
    buffer.update(1.5)
    return dict(
        state_dict={'backbone.conv1.weight': torch.arange(3.0)},
        meta=dict(epoch=3, seed=0),
        message_hub=dict(
            log_scalars={'train/loss': buffer}, rng=np.random.get_state(), number=np.float64(1)
        ),
        optimizer=dict(state={}, param_groups=[dict(lr=0.1)]),
    )


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'epoch_3.pth'
    torch.save(training_checkpoint(), path)
    return path


def test_a_training_checkpoint_is_read(checkpoint):
    found = read_checkpoint(checkpoint)
    assert list(found.state_dict) == ['backbone.conv1.weight']
    assert found.state_dict['backbone.conv1.weight'].tolist() == [0, 1, 2]
    assert found.meta == dict(epoch=3, seed=0)


def test_older_torch_reads_the_same(checkpoint):
    content = torch.load(checkpoint, weights_only=False, pickle_module=restricted_pickle_module())
    weight = content['state_dict']['backbone.conv1.weight']
    assert weight.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    'save',
    [
        lambda weights: weights,
        lambda weights: dict(model=weights),
        lambda weights: {f'module.{k}': v for k, v in weights.items()},
    ],
)
def test_other_frameworks_containers(tmp_path, save):
    torch.save(save({'a.weight': torch.ones(1)}), tmp_path / 'x.pth')
    assert list(read_checkpoint(tmp_path / 'x.pth').state_dict) == ['a.weight']


@pytest.mark.parametrize('old_torch', [False, True])
def test_code_in_a_file_is_not_run(tmp_path, old_torch, monkeypatch):
    if old_torch:
        monkeypatch.delattr(torch.serialization, 'safe_globals')
    mark, path = tmp_path / 'was_run', tmp_path / 'x.pth'
    torch.save({**training_checkpoint(), 'extra': RunsCode(mark)}, path)
    with pytest.raises(TransferError, match=r'run code.*mkdir'):
        read_checkpoint(path)
    assert not mark.exists()


def test_getattr_gives_a_file_nothing(tmp_path):
    # mmengine's files name `getattr`; it must not lead anywhere.
    from dense_ssl.transfer import safe_pickle

    allowed = {name: value for value, name in safe_pickle.safe_globals()}
    assert allowed['builtins.getattr'](dict, '__class__') is None
    assert getattr not in allowed.values()


@pytest.mark.parametrize('content', [b'', b'hello', b'\x80\x02garbage'])
def test_something_else_is_named(tmp_path, content):
    path = tmp_path / 'x.pth'
    path.write_bytes(content)
    with pytest.raises(TransferError, match='x.pth.*no PyTorch checkpoint'):
        read_checkpoint(path)


def test_a_truncated_file_is_named(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(TransferError, match='damaged'):
        read_checkpoint(checkpoint)


def test_a_file_without_weights_says_what_it_has(tmp_path):
    torch.save(dict(epoch=1, state_dict={}), tmp_path / 'x.pth')
    with pytest.raises(TransferError, match='no weights.*'):
        read_checkpoint(tmp_path / 'x.pth')
    torch.save([1], tmp_path / 'x.pth')
    with pytest.raises(TransferError, match='holds a list'):
        read_checkpoint(tmp_path / 'x.pth')


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(TransferError, match='does not exist'):
        read_checkpoint(tmp_path / 'none.pth')
    with pytest.raises(TransferError, match='is a folder'):
        read_checkpoint(tmp_path)
