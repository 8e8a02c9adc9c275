"""Paths with spaces, commas and brackets reach the tools as they are."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dense_ssl.cli.arguments import finetune_parser, train_parser
from dense_ssl.cli.build import build_config
from dense_ssl.quickstart.job import Job
from dense_ssl.quickstart.job_data import JobData
from dense_ssl.quickstart.recipe import PRETRAIN_CONFIG, Budget, detection_options, pretrain_options

REPOSITORY = Path(__file__).resolve().parents[2]
PATHS = ['/my images', '/a,b/c', '/a[1]', '/(x)', "/it's", '/"q"', '/1', '/a=b', '/True']


def data_at(path):
    return JobData(
        unlabelled=path,
        num_unlabelled=64,
        unlabelled_list=f'{path}/list.txt',
        classes=('a',),
        annotations=dict(train=f'{path}/t.json', val=f'{path}/v.json'),
        images=dict(train=path, val=path),
    )


@pytest.mark.parametrize('path', PATHS)
def test_pretraining_gets_the_path(path, tmp_path):
    words = map(str, pretrain_options(data_at(path), Budget()))
    args = train_parser().parse_args(
        [str(REPOSITORY / PRETRAIN_CONFIG), '--work-dir', str(tmp_path), *words]
    )
    cfg = build_config(args)
    dataset = cfg.train_dataloader.dataset
    assert dataset.data_root == path
    assert dataset.ann_file == f'{path}/list.txt'


@pytest.mark.parametrize('path', PATHS)
def test_detection_gets_the_path(path):
    words = map(str, detection_options(data_at(path), Budget()))
    args = finetune_parser().parse_args(['config', '--init-from', 'x', *words])
    assert args.coco_images == args.coco_val_images == path
    assert args.coco_ann == f'{path}/t.json'


def test_commands_in_a_folder_with_a_space(tmp_path):
    repository = tmp_path / 'my repository'
    (repository / 'dense_ssl').mkdir(parents=True)
    (repository / 'configs').mkdir()
    (repository / 'tool.sh').write_text('printf "%s|" "$@" "$PYTHONPATH"')
    job = Job(tmp_path / 'my work', repository, Budget())
    job.command('s', ['bash', 'tool.sh', 'a b', 'c,d'])
    log = (tmp_path / 'my work' / 'logs' / 's.log').read_text()
    assert f'a b|c,d|{repository}' in log


@pytest.mark.skipif(not shutil.which('make'), reason='there is no make')
def test_make_passes_paths_on(tmp_path):
    folder = tmp_path / 'my repository'
    (folder / 'tools').mkdir(parents=True)
    (folder / '.venv/bin').mkdir(parents=True)
    shutil.copy(REPOSITORY / 'Makefile', folder)
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
    own = ['/my "images", (1)', "it's.json", '/a [b]']
    assert make(*(f'{k}={v}' for k, v in zip(('IMAGES', 'COCO', 'COCO_IMAGES'), own))) == [
        '--images',
        own[0],
        '--coco',
        own[1],
        '--coco-images',
        own[2],
    ]
