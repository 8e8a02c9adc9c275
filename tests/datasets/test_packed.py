"""A pack of images is the folder it was made of, in one file."""

import multiprocessing
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image

from dense_ssl.datasets import UnlabeledImages, UnreadableImage, packing
from dense_ssl.datasets.packed import read_packed
from dense_ssl.datasets.packing import pack_images
from dense_ssl.errors import UserError
from tests.engine import runs

from .images import blobs, cut, write_images

LOAD = [dict(type='LoadRGBImage')]
CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/imagenet_mocov2.py'


@pytest.fixture
def root(tmp_path):
    """Nested, of several kinds, with names that sort in odd ways."""
    folder = tmp_path / 'images'
    write_images(folder / 'b', 4)
    write_images(folder / 'b-c', 2)
    write_images(folder / 'ünter x.tar' / 'b', 2)
    image = Image.fromarray(blobs(seed=9))
    image.save(folder / 'A.JPG', exif=rotated())
    image.convert('L').save(folder / 'gray.png')
    image.convert('P').save(folder / 'b' / 'palette.gif')
    (folder / 'b' / '.hidden.jpg').write_bytes(b'x')
    (folder / 'notes.txt').write_text('no image')
    name = os.path.join(os.fsencode(folder), b'b', b'\xff\xf0.png')
    with open(name, 'wb') as file:  # a name that is not UTF-8
        image.save(file, 'PNG')
    return folder


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.fixture
def pack(root, tmp_path):
    pack_images(str(root), str(tmp_path / 'all.tar'))
    return tmp_path / 'all.tar'


def names(dataset, root):
    return [
        os.path.relpath(dataset.get_data_info(i)['img_path'], root) for i in range(len(dataset))
    ]


class TestContent:
    def test_same_files_in_the_same_order(self, root, pack):
        folder = UnlabeledImages(data_root=str(root), pipeline=LOAD)
        packed = UnlabeledImages(data_root=str(pack), pipeline=LOAD)
        assert names(folder, root) == names(packed, pack)
        assert len(packed) == 12
        for name in names(folder, root):
            with open(os.path.join(root, name), 'rb') as file:
                assert read_packed(str(pack), name) == file.read()
        for ours, expected in zip(packed, folder):
            assert (ours['img'] == expected['img']).all()

    def test_other_extensions(self, root, pack):
        dataset = UnlabeledImages(data_root=str(pack), extensions=['.png'])
        assert all(n.endswith('.png') for n in names(dataset, pack))
        assert len(dataset) == 2
        with pytest.raises(FileNotFoundError, match='all.tar.*.webp'):
            UnlabeledImages(data_root=str(pack), extensions=['.webp'])

    def test_a_list_of_names(self, pack, tmp_path):
        (tmp_path / 'list.txt').write_text('b/003.jpg\nb/000.jpg\n')
        dataset = UnlabeledImages(data_root=str(pack), ann_file=str(tmp_path / 'list.txt'))
        assert names(dataset, pack) == ['b/003.jpg', 'b/000.jpg']

    def test_listed_but_not_there(self, pack, tmp_path):
        (tmp_path / 'list.txt').write_text('b/003.jpg\nlost.jpg\n')
        with pytest.raises(UnreadableImage, match='lost.jpg.*no such file'):
            UnlabeledImages(data_root=str(pack), ann_file=str(tmp_path / 'list.txt'))
        dataset = UnlabeledImages(
            data_root=str(pack), ann_file=str(tmp_path / 'list.txt'), verify=False, pipeline=LOAD
        )
        with pytest.raises(UnreadableImage, match='lost.jpg.*no such file'):
            dataset[1]

    def test_two_ways_to_the_same_pack(self, pack, tmp_path, monkeypatch):
        (tmp_path / 'link.tar').symlink_to(pack)
        monkeypatch.chdir(tmp_path)
        for path in (str(pack), 'link.tar', './all.tar'):
            dataset = UnlabeledImages(data_root=path, pipeline=LOAD)
            assert dataset[0]['img'].shape == (60, 40, 3)

    def test_damage_in_the_middle_names_the_file(self, tmp_path):
        folder = tmp_path / 'images'
        write_images(folder, 1)
        Image.fromarray(blobs()).save(folder / '001.png')
        data = bytearray((folder / '001.png').read_bytes())
        middle = len(data) // 2
        data[middle : middle + 200] = bytes(200)
        (folder / '001.png').write_bytes(data)
        pack_images(str(folder), str(tmp_path / 'all.tar'))
        dataset = UnlabeledImages(data_root=str(tmp_path / 'all.tar'), pipeline=LOAD)
        with pytest.raises(UnreadableImage, match='all.tar/001.png'):
            dataset[1]


class TestWriting:
    def test_goes_on_where_it_was_killed(self, root, tmp_path, monkeypatch):
        out = tmp_path / 'all.tar'
        monkeypatch.setattr(packing, 'BATCH', 4)

        def die(done, *_):
            if done == 8:
                os._exit(9)

        process = multiprocessing.get_context('fork').Process(
            target=pack_images, args=(str(root), str(out)), kwargs=dict(report=die)
        )
        process.start()
        process.join()
        assert process.exitcode == 9
        with pytest.raises(ValueError, match='all.tar is not complete.*pack_images.py again'):
            UnlabeledImages(data_root=str(out))
        seen = []
        pack_images(str(root), str(out), report=lambda *numbers: seen.append(numbers))
        # of the 8, the last 4 once more
        assert [done[:2] for done in seen] == [(4, 8), (8, 8)]
        self.compare(root, out)

    @pytest.mark.parametrize('keep', [0.01, 0.3, 0.6, 0.9, 1.0])
    def test_goes_on_from_a_cut_off_file(self, root, pack, monkeypatch, keep):
        monkeypatch.setattr(packing, 'BATCH', 1)
        data = pack.read_bytes()
        last = data.index(b'.dense_ssl-end') + 512
        pack.write_bytes(data[: int(last * keep)])
        with pytest.raises(ValueError, match='not complete'):
            UnlabeledImages(data_root=str(pack))
        pack_images(str(root), str(pack))
        self.compare(root, pack)

    def compare(self, root, out):
        assert len(UnlabeledImages(data_root=str(out))) == 12
        for path in UnlabeledImages(data_root=str(root)):
            name = os.path.relpath(path['img_path'], root)
            with open(path['img_path'], 'rb') as file:
                assert read_packed(str(out), name) == file.read()

    def test_other_programs_can_read_it(self, root, pack, tmp_path):
        (tmp_path / 'out').mkdir()
        subprocess.run(['tar', 'xf', pack, '-C', tmp_path / 'out'], check=True)
        for path in UnlabeledImages(data_root=str(root)):
            name = os.path.relpath(path['img_path'], root)
            with (
                open(path['img_path'], 'rb') as file,
                open(os.path.join(tmp_path, 'out', name), 'rb') as out,
            ):
                assert out.read() == file.read()

    def test_nothing_left_to_do(self, root, pack):
        before = pack.read_bytes()
        pack_images(str(root), str(pack), report=lambda *numbers: pytest.fail('written again'))
        assert pack.read_bytes() == before

    def test_new_files_are_added(self, root, pack):
        write_images(root / 'new', 2)
        pack_images(str(root), str(pack))
        folder = UnlabeledImages(data_root=str(root))
        packed = UnlabeledImages(data_root=str(pack))
        assert names(folder, root) == names(packed, pack)

    def test_report_counts_bytes(self, root, tmp_path, monkeypatch):
        monkeypatch.setattr(packing, 'BATCH', 5)
        seen = []
        pack_images(
            str(root),
            str(tmp_path / 'all.tar'),
            ['.png', '.gif'],
            report=lambda *numbers: seen.append(numbers),
        )
        files = [*root.rglob('*.png'), *root.rglob('*.gif')]
        assert seen == [(3, 3, sum(f.stat().st_size for f in files))]

    @pytest.mark.parametrize(
        'change, message',
        [
            (lambda root: (root / 'b/001.jpg').unlink(), 'b/001.jpg is not in'),
            (
                lambda root: Image.new('RGB', (9, 9)).save(root / 'b/001.jpg'),
                'b/001.jpg is different in',
            ),
        ],
    )
    def test_another_folder(self, root, pack, change, message):
        change(root)
        with pytest.raises(ValueError, match=message):
            pack_images(str(root), str(pack))

    @pytest.mark.parametrize('name', ['all', 'all.mdb', 'folder.tar'])
    def test_other_names(self, root, tmp_path, name):
        (tmp_path / 'folder.tar').mkdir()
        with pytest.raises(ValueError, match=f'{name}.*file named .*.tar'):
            pack_images(str(root), str(tmp_path / name))

    def test_long_names(self, root, tmp_path):
        folder = root / ('f' * 200) / ('g' * 200) / ('h' * 200)
        write_images(folder, 1)
        pack_images(str(root), str(tmp_path / 'all.tar'))
        dataset = UnlabeledImages(data_root=str(tmp_path / 'all.tar'), pipeline=LOAD)
        assert len(dataset) == 13 and len(list(dataset)) == 13

    def test_one_writer_at_a_time(self, root, tmp_path):
        out = str(tmp_path / 'all.tar')

        def again(*done):
            with pytest.raises(UserError, match='another process'):
                pack_images(str(root), out)

        pack_images(str(root), out, report=again)


class TestUnreadable:
    def test_named(self, root, tmp_path):
        cut(root / 'b/002.jpg')
        with pytest.raises(UnreadableImage, match='b/002.jpg.*--max-unreadable-fraction'):
            pack_images(str(root), str(tmp_path / 'all.tar'))

    def test_left_out(self, root, tmp_path):
        cut(root / 'b/002.jpg')
        left_out = pack_images(str(root), str(tmp_path / 'all.tar'), max_unreadable_fraction=0.1)
        assert len(left_out) == 1 and 'b/002.jpg' in left_out[0]
        dataset = UnlabeledImages(data_root=str(tmp_path / 'all.tar'))
        assert len(dataset) == 11
        assert 'b/002.jpg' not in names(dataset, tmp_path / 'all.tar')

    def test_too_many(self, root, tmp_path):
        cut(root / 'b/002.jpg')
        cut(root / 'b/003.jpg')
        with pytest.raises(UnreadableImage, match='2 files unreadable'):
            pack_images(str(root), str(tmp_path / 'all.tar'), max_unreadable_fraction=0.1)

    def test_a_share_that_makes_no_sense(self, root, tmp_path):
        with pytest.raises(ValueError, match='max_unreadable_fraction'):
            pack_images(str(root), str(tmp_path / 'all.tar'), max_unreadable_fraction=1.0)


class TestFilesThatAreNoPack:
    @pytest.mark.parametrize('content', [b'', b'no database' * 1000])
    def test_other_content(self, tmp_path, content):
        (tmp_path / 'a.tar').write_bytes(content)
        with pytest.raises(ValueError, match='a.tar'):
            UnlabeledImages(data_root=str(tmp_path / 'a.tar'))

    def test_somebody_elses_tar_file(self, root, tmp_path):
        path = str(tmp_path / 'a.tar')
        with tarfile.open(path, 'w') as tar:
            tar.add(root / 'gray.png', 'gray.png')
        before = Path(path).read_bytes()
        for use in (lambda: UnlabeledImages(data_root=path), lambda: pack_images(str(root), path)):
            with pytest.raises(ValueError, match='a.tar is not a pack'):
                use()
        assert Path(path).read_bytes() == before

    def test_another_version(self, root, pack, monkeypatch):
        monkeypatch.setattr('dense_ssl.datasets.packed.VERSION', 2)
        with pytest.raises(ValueError, match='version 1.*pack.* again'):
            UnlabeledImages(data_root=str(pack))

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='a.tar.*data_root'):
            UnlabeledImages(data_root=str(tmp_path / 'a.tar'))


def batches(data_root, context='fork', workers=2):
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(
        {
            'train_dataloader.dataset.data_root': str(data_root),
            'train_dataloader.dataset.min_size': 0,
            'train_dataloader.batch_size': 4,
            'train_dataloader.num_workers': workers,
            'train_dataloader.pin_memory': False,
            'train_dataloader.multiprocessing_context': context,
            'train_dataloader.dataset.pipeline.1.view_size': 24,
        }
    )
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('dense_ssl'):
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
        return torch.cat([v for b in loader for v in b['inputs']])


def test_same_batches_from_workers(root, pack):
    assert len(UnlabeledImages(data_root=str(pack))) == 12  # opened here
    assert (batches(pack) == batches(root)).all()


def test_same_batches_from_a_spawned_worker(root, pack):
    expected = batches(root, workers=1)
    assert (batches(pack, 'spawn', workers=1) == expected).all()


def test_same_training(tmp_path):
    folder = runs.image_folder(tmp_path / 'images', 8)
    pack_images(str(folder), str(tmp_path / 'all.tar'))
    losses = []
    for data_root in (folder, tmp_path / 'all.tar'):
        cfg = runs.config(
            'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py',
            data_root,
            tmp_path / 'work',
            **{'model.queue_len': 8},
        )
        losses.append(runs.train(cfg)[1].losses)
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert np.isfinite(losses[0]).all()
