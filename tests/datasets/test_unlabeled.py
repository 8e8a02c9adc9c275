"""Folders, lists, and files that cannot be read."""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image

from dense_ssl.datasets import UnlabeledImages, UnreadableImage
from dense_ssl.datasets.packing import pack_images
from dense_ssl.errors import UserError
from dense_ssl.registry import DATASETS

from .images import cut, write_images

LOAD = [dict(type='LoadRGBImage')]


@pytest.fixture
def log():
    """Lines that reach mmengine's logger."""
    lines = []

    class Keep(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    logger = MMLogger.get_current_instance()
    handler = Keep(logging.INFO)
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def paths(dataset):
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def relative(dataset, root):
    return [os.path.relpath(path, root) for path in paths(dataset)]


class TestFolder:
    def test_flat(self, tmp_path):
        written = write_images(tmp_path, 5)
        dataset = UnlabeledImages(data_root=str(tmp_path))
        assert paths(dataset) == written
        assert dataset[3]['sample_idx'] == 3

    def test_class_tree_and_deep_nesting(self, tmp_path):
        for folder in ('n02', 'n01', 'a/b/c', '.'):
            write_images(tmp_path / folder, 2)
        dataset = UnlabeledImages(data_root=str(tmp_path))
        assert relative(dataset, tmp_path) == sorted(
            f'{folder}{i:03d}.jpg' for folder in ('n01/', 'n02/', 'a/b/c/', '') for i in range(2)
        )

    def test_only_images_in_any_case(self, tmp_path):
        source = write_images(tmp_path / 'x', 1)[0]
        good = ['a.JPG', 'b.JpEg', 'c.PNG', 'd.WebP', 'e.TIFF', 'f.gif']
        for name in good + ['._a.jpg', '.hidden.png', 'notes.txt', 'jpg']:
            shutil.copy(source, tmp_path / name)
        for folder in ('.git', '.thumbnails/large'):
            write_images(tmp_path / folder, 1)
        dataset = UnlabeledImages(data_root=str(tmp_path))
        assert relative(dataset, tmp_path) == good + ['x/000.jpg']

    def test_own_extensions(self, tmp_path):
        source = write_images(tmp_path, 1)[0]
        shutil.copy(source, tmp_path / 'a.JFIF')
        dataset = UnlabeledImages(data_root=str(tmp_path), extensions=['.jfif'])
        assert relative(dataset, tmp_path) == ['a.JFIF']

    def test_links_are_followed_but_not_in_circles(self, tmp_path):
        write_images(tmp_path / 'elsewhere', 2)
        root = tmp_path / 'root'
        root.mkdir()
        (root / 'link').symlink_to(tmp_path / 'elsewhere')
        (tmp_path / 'elsewhere' / 'back').symlink_to(root)
        dataset = UnlabeledImages(data_root=str(root))
        assert relative(dataset, root) == ['link/000.jpg', 'link/001.jpg']

    def test_first_few(self, tmp_path):
        write_images(tmp_path, 5)
        assert len(UnlabeledImages(data_root=str(tmp_path), indices=3)) == 3

    def test_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv('HOME', str(tmp_path))
        write_images(tmp_path / 'images', 1)
        assert len(UnlabeledImages(data_root='~/images')) == 1

    def test_built_from_any_scope(self, tmp_path):
        write_images(tmp_path, 2)
        with DATASETS.switch_scope_and_registry('mmpretrain'):
            dataset = DATASETS.build(
                dict(type='dense_ssl.UnlabeledImages', data_root=str(tmp_path), pipeline=LOAD)
            )
        assert dataset[0]['img'].shape == (40, 48, 3)


class TestWrongFolder:
    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='nowhere.*does not exist.*data_root'):
            UnlabeledImages(data_root=str(tmp_path / 'nowhere'))

    def test_a_file(self, tmp_path):
        path = write_images(tmp_path, 1)[0]
        with pytest.raises(UserError, match='000.jpg.*data_root'):
            UnlabeledImages(data_root=path)

    def test_empty(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='is empty.*data_root'):
            UnlabeledImages(data_root=str(tmp_path))

    def test_no_image(self, tmp_path):
        for name in ('a.txt', 'b.txt', 'c.npy', 'd'):
            (tmp_path / name).touch()
        with pytest.raises(
            FileNotFoundError,
            match=(
                r'no image, only 2 x \.txt, 1 x \.npy, 1 x no extension.*'
                r'\.jpeg, \.jpg'
            ),
        ):
            UnlabeledImages(data_root=str(tmp_path))

    def test_not_given(self):
        with pytest.raises(ValueError, match='data_root'):
            UnlabeledImages()


class TestList:
    def test_relative_absolute_blank_and_comment(self, tmp_path):
        images = write_images(tmp_path / 'images', 4)
        (tmp_path / 'images' / 'list.txt').write_text(
            f'# mine\n003.jpg\n\n  {images[1]}  \r\n000.jpg\n'
        )
        dataset = UnlabeledImages(data_root=str(tmp_path / 'images'), ann_file='list.txt')
        assert [Path(p).name for p in paths(dataset)] == ['003.jpg', '001.jpg', '000.jpg']
        dataset = UnlabeledImages(
            data_root=str(tmp_path / 'images'), ann_file=str(tmp_path / 'images' / 'list.txt')
        )
        assert len(dataset) == 3

    def test_names_with_blanks(self, tmp_path):
        image = Path(write_images(tmp_path, 1)[0]).rename(tmp_path / 'a b.jpg')
        (tmp_path / 'list.txt').write_text('a b.jpg')
        dataset = UnlabeledImages(data_root=str(tmp_path), ann_file='list.txt')
        assert paths(dataset) == [str(image)]

    def test_missing_list(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='list.txt.*ann_file'):
            UnlabeledImages(data_root=str(tmp_path), ann_file='list.txt')

    def test_empty_list(self, tmp_path):
        (tmp_path / 'list.txt').write_text('\n# nothing\n')
        with pytest.raises(ValueError, match='list.txt.*names no file'):
            UnlabeledImages(data_root=str(tmp_path), ann_file='list.txt')

    def test_a_list_that_is_an_image(self, tmp_path):
        path = write_images(tmp_path, 1)[0]
        with pytest.raises(ValueError, match='not a text file'):
            UnlabeledImages(data_root=str(tmp_path), ann_file=path)

    def test_listed_file_missing(self, tmp_path):
        write_images(tmp_path, 2)
        (tmp_path / 'list.txt').write_text('000.jpg\nlost.jpg\n')
        with pytest.raises(UnreadableImage, match='lost.jpg.*no such file'):
            UnlabeledImages(data_root=str(tmp_path), ann_file='list.txt')


class TestUnreadable:
    @pytest.fixture
    def root(self, tmp_path):
        write_images(tmp_path, 10)
        return tmp_path

    @pytest.mark.parametrize(
        'damage, why',
        [
            (lambda p: p.write_bytes(b''), 'empty'),
            (lambda p: p.write_text('hello' * 50), 'not an image'),
            (cut, 'truncated'),
        ],
    )
    def test_named_at_the_start(self, root, damage, why):
        damage(root / '004.jpg')
        with pytest.raises(
            UnreadableImage, match=f'(?si)1 of 10.*004.jpg.*{why}.*max_unreadable_fraction'
        ):
            UnlabeledImages(data_root=str(root))

    def test_many_are_not_all_listed(self, root):
        for i in range(20, 45):
            (root / f'{i}.jpg').touch()
        with pytest.raises(UnreadableImage, match='25 of 35.*') as info:
            UnlabeledImages(data_root=str(root))
        assert '15 more' in str(info.value)

    def test_named_when_met_if_not_verified(self, root):
        cut(root / '004.jpg')
        dataset = UnlabeledImages(data_root=str(root), verify=False, pipeline=LOAD)
        dataset[3]
        with pytest.raises(UnreadableImage, match='004.jpg.*max_unreadable_fraction'):
            dataset[4]

    @pytest.mark.parametrize('verify', [True, False])
    def test_replaced_named_and_counted(self, root, verify, log):
        cut(root / '004.jpg')
        dataset = UnlabeledImages(
            data_root=str(root), verify=verify, max_unreadable_fraction=0.1, pipeline=LOAD
        )
        np.random.seed(0)
        used = {dataset[4]['img_path'] for _ in range(40)}
        assert len(used) > 5 and str(root / '004.jpg') not in used
        assert dataset.unreadable_count == 1
        assert dataset.unreadable_files == [str(root / '004.jpg')]
        said = [line for line in log if '004.jpg' in line]
        assert len(said) == 1 and '1 unreadable of 10' in said[0]

    @pytest.mark.parametrize('verify', [True, False])
    def test_too_many(self, root, verify):
        cut(root / '004.jpg')
        cut(root / '007.jpg')
        with pytest.raises(UnreadableImage, match='007.jpg.*2 of 10.*max_unreadable_fraction'):
            dataset = UnlabeledImages(
                data_root=str(root), verify=verify, max_unreadable_fraction=0.1, pipeline=LOAD
            )
            dataset[4], dataset[7]

    def test_verification_of_some_moves_no_generator(self, root):
        np.random.seed(3)
        expected = np.random.rand()
        np.random.seed(3)
        UnlabeledImages(data_root=str(root), verify=4)
        assert np.random.rand() == expected

    @pytest.mark.parametrize(
        'kwargs',
        [
            dict(max_unreadable_fraction=1.0),
            dict(max_unreadable_fraction=-0.1),
            dict(verify='yes'),
            dict(min_size='some'),
        ],
    )
    def test_arguments_that_make_no_sense(self, root, kwargs):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            UnlabeledImages(data_root=str(root), **kwargs)


def test_half_written_copies_are_counted_and_named(tmp_path, log):
    files = write_images(tmp_path / 'images', 10)
    for path in files[2:4]:
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[:300] + bytes(len(content) - 300))
    with pytest.raises(UnreadableImage, match=r'(?s)2 of 10.*002\.jpg.*003\.jpg'):
        UnlabeledImages(tmp_path / 'images')
    dataset = UnlabeledImages(str(tmp_path / 'images'), max_unreadable_fraction=0.2)
    assert dataset.unreadable_count == 2 and dataset.unreadable_files == files[2:4]


def views(size):
    """Two crops of ``size`` pixels."""
    crop = [dict(type='RandomResizedCropWithBox')]
    return LOAD + [dict(type='GeometricMultiView', num_views=2, transforms=[crop], view_size=size)]


class TestSmallImages:
    def test_min_size_names_the_file(self, tmp_path):
        write_images(tmp_path, 3, size=(64, 64))
        write_images(tmp_path / 'small', 1, size=(64, 31))
        with pytest.raises(ValueError, match=r'(?s)1 of 4.*small/000.jpg \(64 x 31\)'):
            UnlabeledImages(data_root=str(tmp_path), min_size=32)
        assert len(UnlabeledImages(data_root=str(tmp_path), min_size=31)) == 4

    def test_most_images_smaller_than_the_views(self, tmp_path):
        write_images(tmp_path, 3, size=(90, 70))
        write_images(tmp_path / 'large', 2, size=(300, 300))

        def build(size, **kwargs):
            return UnlabeledImages(data_root=str(tmp_path), pipeline=views(size), **kwargs)

        with pytest.raises(
            ValueError,
            match=r'(?s)views of 71 .*is 70.*000.jpg \(90 x 70\).*'
            r'view_size=64.*min_size=0',
        ):
            build(71)
        assert len(build(70)) == len(build(71, min_size=0)) == 5

    def test_no_view_fits_images_of_a_few_pixels(self, tmp_path):
        write_images(tmp_path, 3, size=(31, 31))
        with pytest.raises(ValueError, match=r'min_size=0') as error:
            UnlabeledImages(data_root=str(tmp_path), pipeline=views(64))
        assert 'view_size' not in str(error.value)

    def test_a_few_small_images_are_named_and_enlarged(self, tmp_path, log):
        write_images(tmp_path, 3, size=(64, 64))
        write_images(tmp_path / 'small', 1, size=(5, 6))
        dataset = UnlabeledImages(data_root=str(tmp_path), pipeline=views(32))
        assert '1 of 4' in ''.join(log) and 'small/000.jpg' in ''.join(log)
        sample = dataset[3]
        assert sample['img_path'].endswith('small/000.jpg')

    def test_one_pixel(self, tmp_path):
        Image.new('RGB', (1, 1)).save(tmp_path / 'a.png')
        dataset = UnlabeledImages(data_root=str(tmp_path), pipeline=LOAD)
        assert dataset[0]['img'].shape == (1, 1, 3)


class TestSeveral:
    """Folders, lists and packs as one data set."""

    def test_files_and_packs_one_after_the_other(self, tmp_path, log):
        first = write_images(tmp_path / 'b', 3)
        packed = write_images(tmp_path / 'packed', 2)
        pack_images(str(tmp_path / 'packed'), str(tmp_path / 'p.tar'))
        listed = write_images(tmp_path / 'a', 4)[1:3]
        (tmp_path / 'a/list.txt').write_text(f'001.jpg\n{listed[1]}\n')
        roots = [str(tmp_path / name) for name in ('b', 'p.tar', 'a/list.txt')]
        dataset = UnlabeledImages(data_root=roots, pipeline=LOAD)
        found = paths(dataset)
        assert found == first + [f'{roots[1]}/{Path(p).name}' for p in packed] + listed
        alone = UnlabeledImages(data_root=str(tmp_path / 'packed'), pipeline=LOAD)
        assert np.array_equal(dataset[3]['img'], alone[0]['img'])
        assert 'in all 7 images' in log

    def test_what_lies_in_several_is_taken_once(self, tmp_path, log):
        written = write_images(tmp_path / 'a', 2) + write_images(tmp_path / 'a/b', 3)
        os.symlink(tmp_path / 'a/b', tmp_path / 'link')
        roots = [str(tmp_path / name) for name in ('a', 'link', 'a/b', 'a')]
        assert paths(UnlabeledImages(data_root=roots)) == written
        assert any(
            'in all 5 images; 11 are in several of these and taken once' in line for line in log
        )

    def test_one_of_a_list_is_that_one(self, tmp_path):
        written = write_images(tmp_path, 2)
        assert paths(UnlabeledImages(data_root=[str(tmp_path)])) == written

    def test_one_survey(self, tmp_path, log):
        """One white level for all, and messages that name all."""
        for name, high in (('a', 255), ('b', 4000)):
            (tmp_path / name).mkdir()
            values = np.linspace(0, high, 64, dtype=np.uint16).reshape(8, 8)
            Image.fromarray(values).save(tmp_path / name / 'x.png')
        roots = [str(tmp_path / 'a'), str(tmp_path / 'b')]
        dataset = UnlabeledImages(data_root=roots, pipeline=LOAD)
        assert dataset[0]['img'].max() == 16 and dataset[1]['img'].max() == 249
        assert any(
            line.startswith(', '.join(roots)) and 'white 4095' in line.replace('is ', '')
            for line in log
        )
        with pytest.raises(UserError, match=f'the images of {roots[0]}, {roots[1]} are smaller'):
            UnlabeledImages(data_root=roots, pipeline=views(32))

    def test_what_makes_no_sense(self, tmp_path):
        write_images(tmp_path / 'a', 1)
        roots = [str(tmp_path / 'a'), str(tmp_path / 'absent')]
        with pytest.raises(UserError, match=f"{roots[1]}' does not exist"):
            UnlabeledImages(data_root=roots)
        with pytest.raises(UserError, match='one data_root.*data_root='):
            UnlabeledImages(data_root=roots, ann_file='x.txt')
        with pytest.raises(UserError, match='needs data_root'):
            UnlabeledImages(data_root=[])
