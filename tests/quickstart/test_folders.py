"""The job keeps to its own files, and says what is in its way."""

import os

import pytest

from dense_ssl.quickstart.folders import check_inputs, prepare_work_dir
from dense_ssl.quickstart.stages import StageError


@pytest.mark.parametrize(
    'path,words',
    [
        ('work/data', 'lies in .*work/data'),
        ('work/pictures/mine', 'lies in .*work/pictures'),
        ('work/logs', 'lies in .*work/logs'),
        ('work', 'lies inside'),
        ('.', 'lies inside'),
    ],
)
def test_inputs_in_the_way_are_refused(tmp_path, path, words):
    with pytest.raises(StageError, match=f'--images: .*{words}'):
        check_inputs(tmp_path / 'work', {'--images': tmp_path / path})


def test_links_into_a_stage_are_seen(tmp_path):
    (tmp_path / 'work' / 'data' / 'mine').mkdir(parents=True)
    (tmp_path / 'link').symlink_to(tmp_path / 'work' / 'data' / 'mine')
    with pytest.raises(StageError, match='lies in'):
        check_inputs(tmp_path / 'work', {'--coco': tmp_path / 'link'})


def test_other_inputs_are_fine(tmp_path):
    for path in ('images', 'work/database', 'work/mine/data'):
        check_inputs(tmp_path / 'work', {'--images': tmp_path / path})


def test_folder_whose_name_is_no_text(tmp_path):
    with pytest.raises(StageError, match='--images: .*not UTF-8'):
        check_inputs(tmp_path / 'work', {'--images': tmp_path / os.fsdecode(b'\xe9')})


@pytest.mark.parametrize('name', ['data', 'logs', 'summary.md'])
def test_things_of_the_same_name_stop_the_job(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(StageError, match=f'/{name} exists and was not made'):
        prepare_work_dir(tmp_path)
    (tmp_path / name).rmdir()
    (tmp_path / 'other').mkdir()
    prepare_work_dir(tmp_path)
    (tmp_path / name).mkdir()  # now it is the job's own
    prepare_work_dir(tmp_path)


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(StageError, match='--work-dir .*file/work cannot be'):
        prepare_work_dir(tmp_path / 'file' / 'work')
