"""Which checkpoint a resumed run takes, and who may write into a folder."""

import os
import shutil
import time

import pytest
import torch

from dense_ssl.engine import work_folder
from dense_ssl.engine.work_folder import checkpoints_in, claim, newest_readable
from dense_ssl.errors import TransferError, UserError

from .runs import config, finish, image_folder, start, train

DENSECL = 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'), 13)


def recipe(images, work_dir, **options):
    return config(DENSECL, images, work_dir, **{'model.queue_len': 8, **options})


@pytest.fixture(scope='module')
def trained(images, tmp_path_factory):
    """The folder of a run of three epochs."""
    folder = tmp_path_factory.mktemp('trained') / 'run'
    train(recipe(images, folder, epochs=3))
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / 'moved')


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(work_folder, 'print_log', lambda text, *args: lines.append(text))
    return lines


@pytest.mark.parametrize(
    'pointer',
    [
        None,
        b'',
        b'/no/such/epoch_9.pth',
        b'/tmp',
        b'epoch_',
        bytes(range(256)),
        b'\0\0\0',
        b'x' * 999,
    ],
)
def test_whatever_last_checkpoint_says(run, said, pointer):
    path = run / 'last_checkpoint'
    path.unlink() if pointer is None else path.write_bytes(pointer)
    assert newest_readable(str(run)) == str(run / 'epoch_3.pth')
    assert said and 'epoch_3.pth, the newest readable' in said[-1]


def flip(path, at=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 1
    path.write_bytes(content)


def flip_in_a_tensor(path):
    weight = torch.load(path, weights_only=False)['state_dict']['projector.global_mlp.0.weight']
    content = bytearray(path.read_bytes())
    content[content.index(weight.numpy().tobytes()) + 5] ^= 64
    path.write_bytes(content)
    torch.load(path, weights_only=False)  # torch does not see it


@pytest.mark.parametrize(
    'damage',
    [
        flip,
        flip_in_a_tensor,
        lambda path: path.write_bytes(b''),
        lambda path: path.write_bytes(path.read_bytes()[:-1000]),
        lambda path: path.write_bytes(os.urandom(5000)),
        lambda path: path.unlink(),
    ],
    ids=['flipped', 'tensor', 'empty', 'cut', 'garbage', 'absent'],
)
def test_the_newest_is_damaged(run, said, damage):
    (run / 'last_checkpoint').write_text(str(run / 'epoch_3.pth'))
    damage(run / 'epoch_3.pth')
    assert newest_readable(str(run)) == str(run / 'epoch_2.pth')
    assert 'epoch_3.pth' in said[-1] and 'takes' in said[-1]


def test_every_byte_counts(run):
    """Wherever a byte is flipped, the file is refused, or means the same."""
    path = run / 'epoch_3.pth'
    whole = path.read_bytes()
    before = torch.load(path, weights_only=False)['state_dict']
    for at in range(97):
        flip(path, at / 97)
        try:
            newest = newest_readable(str(run))
        finally:
            damaged = path.read_bytes()
            path.write_bytes(whole)
        if newest == str(path):
            path.write_bytes(damaged)
            after = torch.load(path, weights_only=False)['state_dict']
            assert all(torch.equal(before[key], after[key]) for key in before)
            path.write_bytes(whole)


def test_none_is_readable(run):
    for path in run.glob('epoch_*'):
        path.write_bytes(b'x')
    with pytest.raises(TransferError, match='epoch_3.*epoch_2.*epoch_1.*--overwrite'):
        newest_readable(str(run))
    for path in run.glob('epoch_*'):
        path.unlink()
    (run / 'last_checkpoint').write_text('/gone/epoch_3.pth')
    with pytest.raises(TransferError, match='names .*epoch_3.pth, which is not there'):
        newest_readable(str(run))


def test_a_pointer_rules_where_older_runs_left_files(run):
    shutil.copy(run / 'epoch_1.pth', run / 'epoch_100.pth')
    old = time.time() - 100
    os.utime(run / 'epoch_100.pth', (old, old))
    (run / 'last_checkpoint').write_text('epoch_3.pth')
    assert [p.name for p in checkpoints_in(str(run))][0] == 'epoch_3.pth'


def test_a_folder_that_holds_a_run(images, run):
    cfg = recipe(images, run, epochs=1, overwrite=False)
    before = {p: p.read_bytes() for p in run.glob('*.pth')}
    with pytest.raises(UserError, match='holds a run already, .*epoch_3.pth: say --resume'):
        train(cfg)
    assert before == {p: p.read_bytes() for p in run.glob('*.pth')}
    cfg.overwrite = True
    train(cfg)
    assert [p.name for p in run.glob('*.pth')] == ['epoch_1.pth']


def test_an_empty_folder_can_be_resumed(images, tmp_path):
    cfg = recipe(images, tmp_path / 'run', epochs=1, overwrite=False)
    cfg.resume = True
    assert len(train(cfg)[1].losses) == 3


@pytest.mark.slow
def test_commands(images, run):
    """The pointer is gone: --resume goes on, no flag refuses, --overwrite starts anew."""
    (run / 'last_checkpoint').unlink()
    flip_in_a_tensor(run / 'epoch_3.pth')
    code, output = finish(recipe(images, run, epochs=4), '--resume')
    assert code == 0 and 'epoch_2.pth, the newest readable checkpoint' in output, output[-3000:]
    assert 'the checksum of' in output and (run / 'epoch_4.pth').is_file()
    code, output = finish(recipe(images, run, epochs=4))
    assert code == 1 and '--overwrite' in output and 'Traceback' not in output
    code, output = finish(recipe(images, run, epochs=1), '--overwrite')
    assert code == 0 and [p.name for p in run.glob('*.pth')] == ['epoch_1.pth']


@pytest.mark.slow
def test_two_runs_in_one_folder(images, tmp_path):
    folder = tmp_path / 'run'
    first = start(recipe(images, folder, epochs=10_000))
    try:
        deadline = time.time() + 120
        while not list(folder.glob('epoch_*.pth')) and time.time() < deadline:
            time.sleep(0.2)
        code, output = finish(recipe(images, folder), '--resume')
        assert code == 1 and 'Traceback' not in output
        assert f'another run writes into {folder} (process {first.pid} on ' in output
    finally:
        first.kill()
        first.communicate()
    with claim(str(folder)):  # the lock ended with the process
        pass
