"""Real loaders with workers: seeds, collation, damaged files, recipes."""

import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, DefaultScope
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from dense_ssl.datasets import UnlabeledImages, UnreadableImage, worker_init
from dense_ssl.models.data_preprocessor import DenseDataPreprocessor
from dense_ssl.registry import MODELS
from tests.data_paths import shared_data

from .images import cut, write_images

CONFIGS = Path(__file__).parents[2] / 'configs/_base_/datasets'
LOAD = [dict(type='LoadRGBImage')]


class Draws(Dataset):
    """Every sample is what the three generators give next."""

    def __len__(self):
        return 8

    def __getitem__(self, idx):
        return torch.tensor(
            [
                torch.rand((), dtype=torch.float64),
                np.random.rand(),
                random.random(),
                cv2.getNumThreads(),
                torch.get_num_threads(),
            ],
            dtype=torch.float64,
        )


def draws(seed, num_workers=2):
    torch.manual_seed(seed)
    loader = DataLoader(
        Draws(), batch_size=None, num_workers=num_workers, worker_init_fn=worker_init
    )
    return torch.stack(list(loader))


class TestSeeds:
    def test_workers_epochs_ranks_and_seeds_do_not_repeat(self, monkeypatch):
        runs = []
        for rank, seed in [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2)]:
            monkeypatch.setenv('RANK', str(rank))
            runs.append(draws(seed))
        numbers = torch.cat(runs)[:, :3]
        assert len(numbers.flatten().unique()) == numbers.numel()

    def test_epochs_differ(self):
        loader = DataLoader(Draws(), batch_size=None, num_workers=1, worker_init_fn=worker_init)
        first, second = torch.stack(list(loader)), torch.stack(list(loader))
        assert (first[:, :3] != second[:, :3]).all()

    def test_same_seed_and_workers_give_the_same(self):
        assert (draws(5) == draws(5)).all()

    def test_threads_are_pinned(self):
        assert (draws(0)[:, 3:] == 1).all()

    def test_found_by_name_in_configs(self):
        assert FUNCTIONS.get('worker_init') is worker_init


def loader_of(name, root, **options):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.merge_from_dict(
        {
            'train_dataloader.dataset.data_root': str(root),
            'train_dataloader.batch_size': 4,
            'train_dataloader.num_workers': 2,
            'train_dataloader.pin_memory': False,
            'train_dataloader.dataset.pipeline.1.view_size': 24,
            **options,
        }
    )
    with DefaultScope.overwrite_default_scope('dense_ssl'):
        return Runner.build_dataloader(cfg.train_dataloader, seed=0), cfg


@pytest.mark.parametrize('recipe', ['mocov2', 'byol'])
def test_batch_from_folder_to_model(tmp_path, recipe):
    write_images(tmp_path, 10)
    torch.manual_seed(0)
    loader, cfg = loader_of(f'imagenet_{recipe}', tmp_path)
    preprocessor = MODELS.build(cfg.data_preprocessor)
    batches = [preprocessor(batch, True) for batch in loader]
    assert len(batches) == 2  # the rest of 10 is dropped
    seen = set()
    for batch in batches:
        assert [v.shape for v in batch['inputs']] == [(4, 3, 24, 24)] * 2
        assert all(v.dtype == torch.float32 for v in batch['inputs'])
        assert len(batch['data_samples']) == 4
        for sample in batch['data_samples']:
            boxes = sample.view_boxes
            assert isinstance(boxes, torch.Tensor)
            assert boxes.shape == (2, 4) and boxes.dtype == torch.float32
            seen |= {sample.img_path, *boxes.flatten().tolist()}
    assert len(seen) > 8 + 30


def test_boxes_stay_with_their_views(tmp_path):
    """Images of coordinates: every view must show what its box says."""
    from PIL import Image

    y, x = np.mgrid[:100, :200]
    for i in range(6):
        Image.fromarray(np.dstack([x, y, x * 0 + 40 * i]).astype(np.uint8)).save(
            tmp_path / f'{i}.png'
        )
    color = 'train_dataloader.dataset.pipeline.1.transforms.0.1.'
    loader, _ = loader_of(
        'imagenet_mocov2',
        tmp_path,
        **{f'{color}{p}_prob': 0.0 for p in ('jitter', 'grayscale', 'blur')},
    )
    for batch in loader:
        for view, img in enumerate(batch['inputs']):
            for i, sample in enumerate(batch['data_samples']):
                x1, y1, x2, y2 = sample.view_boxes[view] * [199, 99, 199, 99]
                r, g, b = img[i].float().mean((1, 2)).tolist()
                assert abs(r - (x1 + x2) / 2) < 1.5
                assert abs(g - (y1 + y2) / 2) < 1.5
                assert b == 40 * int(Path(sample.img_path).stem)


def test_views_may_differ_in_size(tmp_path):
    write_images(tmp_path, 4)
    loader, _ = loader_of(
        'imagenet_byol',
        tmp_path,
        **{'train_dataloader.dataset.pipeline.1.transforms.1.0.scale': (10, 12)},
    )
    batch = next(iter(loader))
    assert [v.shape[1:] for v in batch['inputs']] == [(3, 24, 24), (3, 10, 12)]


def test_same_seed_same_batches(tmp_path):
    write_images(tmp_path, 8)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        loader, _ = loader_of('imagenet_mocov2', tmp_path)
        runs.append(torch.cat([v for b in loader for v in b['inputs']]))
    assert (runs[0] == runs[1]).all()
    assert (runs[0] != runs[2]).any()


class TestUnreadableInWorkers:
    def loader(self, root, **kwargs):
        dataset = UnlabeledImages(data_root=str(root), verify=False, pipeline=LOAD, **kwargs)
        return DataLoader(dataset, batch_size=2, num_workers=2, worker_init_fn=worker_init)

    def error_of(self, loader):
        # The traceback would keep the iterator until a garbage collection,
        # in which torch waits 5 s for each of its workers.
        try:
            list(loader)
        except UnreadableImage as error:
            error.__traceback__ = None
            return str(error)
        pytest.fail('no error')

    def test_counted_across_workers_and_epochs(self, tmp_path):
        write_images(tmp_path, 12)
        for i in (0, 3, 8):  # met by both workers
            cut(tmp_path / f'{i:03d}.jpg')
        loader = self.loader(tmp_path, max_unreadable_fraction=0.25)
        for _ in range(2):
            assert sum(len(batch['img']) for batch in loader) == 12
            assert loader.dataset.unreadable_count == 3
        names = [Path(p).name for p in loader.dataset.unreadable_files]
        assert names == ['000.jpg', '003.jpg', '008.jpg']

    def test_too_many_across_workers(self, tmp_path):
        write_images(tmp_path, 12)
        for i in (0, 3, 8):
            cut(tmp_path / f'{i:03d}.jpg')
        loader = self.loader(tmp_path, max_unreadable_fraction=0.2)
        assert '3 of 12' in self.error_of(loader)

    def test_not_allowed(self, tmp_path):
        write_images(tmp_path, 4)
        cut(tmp_path / '002.jpg')
        assert '002.jpg' in self.error_of(self.loader(tmp_path))


class TestRecipes:
    JITTER = dict(
        brightness=0.4,
        contrast=0.4,
        hue=0.1,
        jitter_prob=0.8,
        grayscale_prob=0.2,
        blur_sigma=(0.1, 2.0),
    )

    def pipeline(self, name):
        cfg = Config.fromfile(CONFIGS / f'{name}.py')
        assert cfg.data_root == cfg.train_dataloader.dataset.data_root
        load, views, pack = cfg.train_dataloader.dataset.pipeline
        assert (load.type, pack.type) == ('LoadRGBImage', 'PackInputs')
        assert views.view_size == 224
        return views

    @pytest.mark.parametrize('data', ['imagenet', 'coco'])
    def test_mocov2(self, data):
        views = self.pipeline(f'{data}_mocov2')
        assert views.num_views == [2]
        crop, color, flip = views.transforms[0]
        assert crop == dict(type='RandomResizedCropWithBox', crop_ratio_range=(0.2, 1.0))
        assert flip == dict(type='RandomFlipWithBox', prob=0.5)
        assert color == dict(type='RandomColor', saturation=0.4, blur_prob=0.5, **self.JITTER)

    @pytest.mark.parametrize('data', ['imagenet', 'coco'])
    def test_byol(self, data):
        views = self.pipeline(f'{data}_byol')
        assert views.num_views == [1, 1]
        for pipeline, blur, solarize in zip(views.transforms, (1.0, 0.1), (0.0, 0.2)):
            crop, flip, color = pipeline
            assert crop == dict(type='RandomResizedCropWithBox', crop_ratio_range=(0.08, 1.0))
            assert flip == dict(type='RandomFlipWithBox', prob=0.5)
            assert color == dict(
                type='RandomColor',
                saturation=0.2,
                blur_prob=blur,
                solarize_prob=solarize,
                solarize_threshold=128,
                **self.JITTER,
            )

    def test_folders(self):
        roots = [Config.fromfile(CONFIGS / f'{d}_byol.py').data_root for d in ('imagenet', 'coco')]
        assert roots == ['data/imagenet/train', 'data/coco/train2017']


class TestPreprocessor:
    MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]

    def test_normalises_every_view(self):
        views = [torch.randint(0, 256, (2, 3, s, s), dtype=torch.uint8) for s in (4, 6)]
        kept = [view.clone() for view in views]
        out = DenseDataPreprocessor(self.MEAN, self.STD)(
            dict(inputs=views, data_samples=None), True
        )
        for result, view, before in zip(out['inputs'], views, kept):
            assert (view == before).all()
            for c in range(3):
                expected = (view[:, c].double() - self.MEAN[c]) / self.STD[c]
                assert (result[:, c] - expected).abs().max() < 1e-6
            assert result.dtype == torch.float32
        assert out['data_samples'] is None

    def test_one_tensor_float_and_no_mean(self):
        view = torch.rand(2, 3, 4, 4)
        out = DenseDataPreprocessor()(dict(inputs=view))
        assert (out['inputs'] == view).all()

    def test_channels_can_be_swapped(self):
        view = torch.rand(2, 3, 4, 4)
        out = DenseDataPreprocessor(to_rgb=True)(dict(inputs=[view]))
        assert (out['inputs'][0] == view.flip(1)).all()


def test_real_images():
    loader, _ = loader_of(
        'imagenet_byol', shared_data() / 'unlabelled', **{'train_dataloader.dataset.indices': 16}
    )
    assert sum(len(batch['data_samples']) for batch in loader) == 16
