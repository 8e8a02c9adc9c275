"""A file is there as a whole or not at all."""

import os
import stat

import pytest

from dense_ssl.files import write_atomically


def test_text_bytes_and_writers_are_written(tmp_path):
    path = tmp_path / 'a.txt'
    write_atomically(path, 'ä\r\n')
    assert path.read_bytes() == b'\xc3\xa4\r\n'
    write_atomically(str(path), b'bytes')
    assert path.read_bytes() == b'bytes'
    write_atomically(path, lambda file: file.write(b'by a writer'))
    assert path.read_bytes() == b'by a writer'
    assert os.listdir(tmp_path) == ['a.txt']


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / 'a.txt'
    write_atomically(path, 'old')

    def fail(file):
        file.write(b'half of the')
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
        write_atomically(path, fail)
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.txt']


def test_links_and_modes_are_as_of_a_plain_write(tmp_path):
    (tmp_path / 'there').mkdir()
    link = tmp_path / 'link'
    link.symlink_to(tmp_path / 'there' / 'a.txt')
    write_atomically(link, 'text')
    assert link.is_symlink() and link.read_text() == 'text'
    (tmp_path / 'plain').write_text('')
    modes = [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ('plain', 'link')]
    assert modes[0] == modes[1]


def test_a_device_is_not_replaced():
    write_atomically('/dev/null', 'text')
    assert not os.path.isfile('/dev/null')


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, 'text')
