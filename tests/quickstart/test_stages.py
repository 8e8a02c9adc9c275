"""Stages run once, again when their inputs change, and fail in the open."""

import os
import sys

import pytest

from dense_ssl.quickstart.stages import (
    MARKER,
    Stage,
    StageError,
    condense,
    fingerprint,
    run_command,
)


def counted(calls, files=()):

    def work(folder):
        calls.append(folder)
        return dict(score=len(calls), files=[str(f) for f in files])

    return work


def test_finished_stage_is_reused_until_inputs_change(tmp_path):
    calls, work = [], None
    work = counted(calls)
    first = Stage('a', tmp_path, dict(x=(1, 2))).run(work)
    assert (first['score'], first['reused']) == (1, False)
    again = Stage('a', tmp_path, dict(x=(1, 2))).run(work)
    assert (again['score'], again['reused'], len(calls)) == (1, True, 1)
    assert Stage('a', tmp_path, dict(x=(1, 3))).run(work)['score'] == 2
    assert Stage('a', tmp_path, dict(x=(1, 3))).run(work, fresh=True)['score'] == 3


def test_lost_file_or_failure_runs_again_in_an_empty_folder(tmp_path):
    calls, file = [], tmp_path / 'file'
    file.write_text('x')
    stage = Stage('a', tmp_path, {})
    stage.run(counted(calls, [file]))
    file.unlink()

    def fail(folder):
        assert [p.name for p in folder.iterdir()] == [MARKER]
        (folder / 'half').write_text('x')
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(fail)
    assert stage.finished() is None
    assert not stage.run(counted(calls))['reused']
    assert not (stage.folder / 'half').exists()


def test_folders_of_others_are_left_alone(tmp_path):
    calls, photo = [], tmp_path / 'data' / 'photo.jpg'
    photo.parent.mkdir()
    photo.write_text('x')
    (tmp_path / 'pictures').write_text('a file')
    for name in ('data', 'pictures'):
        with pytest.raises(StageError, match=f'/{name} exists and was not'):
            Stage(name, tmp_path, {}).run(counted(calls), fresh=True)
    assert photo.read_text() == 'x' and not calls
    # an empty folder may be used; a link in it is not followed when emptied
    (tmp_path / 'detection').mkdir()
    stage = Stage('detection', tmp_path, {})
    stage.run(counted(calls))
    (stage.folder / 'link').symlink_to(photo.parent)
    stage.run(counted(calls), fresh=True)
    assert photo.exists() and not (stage.folder / 'link').exists()


def test_fingerprint_takes_names_that_are_no_text(tmp_path):
    before = fingerprint([tmp_path])
    with open(os.fsencode(tmp_path) + b'/caf\xe9.jpg', 'wb'):
        pass
    assert fingerprint([tmp_path]) != before


def test_log_takes_names_that_are_no_text(tmp_path):
    words = [sys.executable, '-c', 'pass', 'a b', os.fsdecode(b'\xe9')]
    run_command('s', words, tmp_path / 's.log', {}, tmp_path, lambda line: None)
    first = (tmp_path / 's.log').read_text(encoding='utf-8').splitlines()[0]
    assert first.endswith("'a b' '\\udce9'")


def test_fingerprint_sees_every_change(tmp_path):
    (tmp_path / 'sub').mkdir()
    file = tmp_path / 'sub' / 'a.txt'
    file.write_text('one')
    before = fingerprint([tmp_path])
    assert fingerprint([tmp_path]) == before
    os.utime(file, ns=(1, 1))
    changed = fingerprint([tmp_path])
    assert changed != before
    (tmp_path / 'b').write_text('')
    assert fingerprint([tmp_path]) not in (before, changed)


def test_command_is_logged_and_condensed(tmp_path):
    said = []
    line = (
        '2026/01/01 00:00:00 - mmengine - INFO - Iter(train) [ 5/20]  lr:'
        ' 1e-2  eta: 0:00:41  time: 1.0  loss: 3.2359  loss_cls: 1.0'
    )
    program = f'import os; print({line!r}); print("noise", os.environ["X"])'
    run_command(
        's',
        [sys.executable, '-c', program],
        tmp_path / 'l' / 's.log',
        dict(X='7'),
        tmp_path,
        said.append,
    )
    assert said[-1] == '[s] iter [5/20]  loss 3.2359  eta 0:00:41'
    assert 'noise 7' in (tmp_path / 'l' / 's.log').read_text()


def test_failed_command_shows_its_end(tmp_path):
    said = []
    with pytest.raises(StageError, match=r'exit code 3.*s\.log'):
        run_command(
            's',
            [sys.executable, '-c', 'print("the reason"); raise SystemExit(3)'],
            tmp_path / 's.log',
            {},
            tmp_path,
            said.append,
        )
    assert 'the reason' in said[-1]


@pytest.mark.parametrize(
    'line,gist',
    [
        (
            'a b - mmengine - INFO - Epoch(train)  [2][10/20]  lr: 3e-2  eta: 0:10:0'
            '  loss: 4.5  loss_dense: 2.0',
            'epoch [2][10/20]  loss 4.5  eta 0:10:0',
        ),
        (
            'a b - mmengine - INFO - Iter(val) [4/4]    coco/bbox_mAP: 0.0100  '
            'coco/bbox_mAP_50: 0.03  coco/segm_mAP: 0.0200  time: 1',
            'validation  coco/bbox_mAP 0.0100  coco/segm_mAP 0.0200',
        ),
        (
            'a b - mmengine - INFO - Iter(val) [4/4]    aAcc: 60.0  mIoU: 30.0',
            'validation  aAcc 60.0  mIoU 30.0',
        ),
        ('a b - mmengine - ERROR - it broke', 'it broke'),
        ('a b - mmengine - INFO - Iter(val) [2/4]    eta: 0:00:01', None),
        ('anything else', None),
    ],
)
def test_condense(line, gist):
    assert condense(line) == gist
