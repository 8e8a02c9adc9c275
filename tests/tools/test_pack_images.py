"""The command that packs a folder of images."""

import runpy
import sys
from pathlib import Path

import pytest

from dense_ssl.datasets import UnlabeledImages
from tests.datasets.images import cut, write_images

TOOL = str(Path(__file__).resolve().parents[2] / 'tools/convert/pack_images.py')


@pytest.fixture
def pack(monkeypatch, capsys):

    def run(*arguments):
        """Exit status, what was printed, and where errors go."""
        monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, arguments)])
        try:
            runpy.run_path(TOOL, run_name='__main__')
            status = 0
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def test_an_error_names_the_file_and_the_next_run_goes_on(tmp_path, pack):
    write_images(tmp_path / 'images', 140)
    broken = tmp_path / 'images/130.jpg'  # after two times 64
    whole = broken.read_bytes()
    cut(broken)
    status, _, error = pack(tmp_path / 'images', tmp_path / 'all.tar')
    assert status == 1
    assert error.startswith('error: cannot read the image')
    assert '130.jpg' in error
    broken.write_bytes(whole)
    status, out, _ = pack(tmp_path / 'images', tmp_path / 'all.tar')
    assert status == 0
    assert '74 of 74 images (100 %)' in out  # of the 130, the last 64 again
    assert 'all.tar is complete' in out
    assert len(UnlabeledImages(data_root=str(tmp_path / 'all.tar'))) == 140


def test_what_was_left_out_is_named(tmp_path, pack):
    write_images(tmp_path / 'images', 10)
    cut(tmp_path / 'images/003.jpg')
    status, out, _ = pack(
        tmp_path / 'images', tmp_path / 'all.tar', '--max-unreadable-fraction', '0.1'
    )
    assert status == 0
    assert 'left out: cannot read' in out and '003.jpg' in out


def test_interrupted(tmp_path, pack, monkeypatch):
    write_images(tmp_path / 'images', 3)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr('dense_ssl.datasets.packing._read', interrupt)
    status, out, _ = pack(tmp_path / 'images', tmp_path / 'all.tar')
    assert status == 130 and 'same command again' in out
