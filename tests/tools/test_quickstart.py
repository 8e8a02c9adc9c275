"""The quick start: what it makes of the user's data, what it says, and a whole small run."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import pytest

from dense_ssl.study import compare_parser
from tests.finetune.tiny_data import write_coco

from ..engine.runs import ROOT, environment
from ..study.example import make_results

spec = importlib.util.spec_from_file_location('quickstart', ROOT / 'tools' / 'quickstart.py')
quickstart = importlib.util.module_from_spec(spec)
spec.loader.exec_module(quickstart)


def run(*words, code=0):
    done = subprocess.run(
        [sys.executable, 'tools/quickstart.py', *map(str, words)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def own(folder, **options):
    path, images = write_coco(folder, **options)
    return ['--images', images, '--coco', path, '--coco-images', images]


def own_data(work, data):
    names = 'images', 'coco', 'coco_images'
    args = quickstart.Namespace(work_dir=work, **dict(zip(names, data[1::2])))
    words = quickstart.own_data(args)
    return compare_parser().parse_args(['--work-dir', 'x', *map(str, words)])


def test_label_maps_of_a_fixed_part_of_the_users_data(tmp_path, monkeypatch):
    monkeypatch.setattr(quickstart, 'MOST', dict(train=3, val=1))
    data = own(tmp_path / 'my, [data]', images=10)
    args = own_data(tmp_path / 'work', data)
    assert args.seg_classes == 'background,square,disc'
    assert args.images == str(data[1]) and args.coco_images == data[5]
    for split, path, count in (('train', args.coco_ann, 3), ('val', args.coco_val_ann, 1)):
        assert len(json.loads(path.read_text())['images']) == count
        for kind in ('img_dir', 'ann_dir'):
            assert len([*(args.seg_data / kind / split).iterdir()]) == count
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'work').rglob('*')}
    assert own_data(tmp_path / 'work', data) == args
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / 'work').rglob('*')}


def test_boxes_alone_leave_segmentation_out(tmp_path):
    args = own_data(tmp_path / 'work', own(tmp_path / 'data', masks=False))
    assert args.seg_data is None and args.coco_ann.is_file()


def test_last_lines(tmp_path):
    args = quickstart.Namespace(work_dir=tmp_path / 'work', images=None)
    results = make_results(methods=('random', 'densecl'), seeds=(0,), labels=(1.0,))
    lines = [*quickstart.last_lines(args, results)]
    assert len(lines) <= 10
    text = '\n'.join(lines)
    assert 'DenseCL +' in text and 'over random weights' in text and 'report.html' in text
    probe = next(line for line in lines if 'probe' in line).split()[-2:]
    assert float(probe[1]) > float(probe[0]) > 0
    results = make_results(methods=('random', 'densecl'), states=('failed',))
    assert 'No scores yet' in '\n'.join(quickstart.last_lines(args, results))


def test_bad_input_is_named(tmp_path):
    assert 'all of --images' in run('--images', tmp_path, code=2)
    data = own(tmp_path / 'data')
    none = tmp_path / 'none'
    for index in (1, 3, 5):
        words = [*data[:index], none, *data[index + 1 :], '--work-dir', tmp_path / 'work']
        error = run(*words, code=1)
        assert error.splitlines()[-1].startswith('error: ') and f'{none} does not exist' in error
    (tmp_path / 'work' / 'data' / 'scenes').mkdir(parents=True)
    (tmp_path / 'work' / 'data' / 'scenes' / 'mine').touch()
    assert 'is not empty' in run('--work-dir', tmp_path / 'work', code=1)


@pytest.mark.skipif(not shutil.which('make'), reason='there is no make')
def test_make_passes_paths_on(tmp_path):
    folder = tmp_path / 'my repository'
    (folder / 'tools').mkdir(parents=True)
    (folder / '.venv/bin').mkdir(parents=True)
    shutil.copy(ROOT / 'Makefile', folder)
    (folder / 'tools/quickstart.py').write_text('import json, sys; print(json.dumps(sys.argv[1:]))')
    (folder / '.venv/bin/python').symlink_to(shutil.which('python3'))
    env = {k: v for k, v in os.environ.items() if not k.startswith('MAKE')}

    def make(*words):
        done = subprocess.run(
            ['make', '-s', '-o', 'setup', 'quickstart', *words],
            cwd=folder,
            env=env,
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert make() == []
    given = dict(IMAGES='/my "images", (1)', COCO="it's.json", COCO_IMAGES='/a [b]')
    assert make(*(f'{key}={value}' for key, value in given.items())) == [
        *('--images', given['IMAGES'], '--coco', given['COCO']),
        *('--coco-images', given['COCO_IMAGES']),
    ]


@pytest.mark.slow
def test_smoke_run_on_scenes_then_reused(tmp_path):
    work = tmp_path / 'work'
    output = run('--smoke', '--work-dir', work)
    results = json.loads((work / 'results.json').read_text())
    assert len(results['cells']) == 4
    assert {cell['state'] for cell in results['cells']} == {'done'}
    assert 'box AP' in output and 'no pictures' not in output
    kinds = [path.name.split('-')[0] for path in (work / 'pictures').glob('*.png')]
    assert [kinds.count(kind) for kind in ('matches', 'segmentation', 'detection')] == [2, 2, 2]
    assert (work / 'report.html').read_text().count('<img') == 6
    assert 'done in' not in run('--smoke', '--work-dir', work)


@pytest.mark.slow
def test_smoke_run_on_boxes_alone(tmp_path):
    data = own(tmp_path / 'my images, [1]', images=10, masks=False)
    output = run('--smoke', '--work-dir', tmp_path / 'my work', *data)
    results = json.loads((tmp_path / 'my work' / 'results.json').read_text())
    assert [*results['study']['tasks']] == ['detection'] and 'box AP' in output
