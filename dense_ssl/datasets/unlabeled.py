"""Images without labels: folders of any shape, or lists of files."""

import logging
import os
import os.path as osp
from collections.abc import Sequence
from typing import Optional, Union

import numpy as np
import torch
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset

from dense_ssl.errors import UserError
from dense_ssl.registry import DATASETS

from .band_reading import EXTENSION as BANDS
from .image_listing import EXTENSIONS, find_images, once, read_list
from .image_reading import UnreadableImage
from .packed import is_pack, list_pack, open_pack
from .survey import (
    HEADERS,
    WhiteLevel,
    check_images,
    find_levels,
    listed,
    name_unreadable,
    remedy,
    sample,
)
from .transforms.loading import LoadRGBImage
from .transforms.multi_view import GeometricMultiView, build_transforms
from .worker_init import process_rank

__all__ = ['UnlabeledImages']

VERIFY_ALL, VERIFY_SAMPLE = 20_000, 2_000  # files


@DATASETS.register_module(name=['UnlabeledImages', 'UnlabelledImages'])  # the old name
class UnlabeledImages(CustomDataset):
    """All images under a folder, or several, nested or flat, without labels.

    Before training starts, files are opened to find what cannot be read
    (``verify``). What still turns up later raises an error that names the
    file, unless a share of unreadable files is allowed: then another image,
    drawn at random, takes its place, and the file is named once in a warning
    and counted in :attr:`unreadable_count`.

    Args:
        data_root (str | Sequence[str]): Folder of the images, on a local path,
            or a pack of them (``*.tar``, see ``tools/convert/pack_images.py``),
            which gives the same samples in the same order. Or several of such,
            and of lists as ``ann_file`` is one, relative to their own folder:
            one after the other, what lies in several of them once.
        ann_file (str): Text file with one path a line, absolute or relative
            to ``data_root`` (blank lines and ``#`` comments are passed over).
            Its own path is relative to ``data_root`` too. Defaults to '': all
            images of the folder, in sorted order.
        extensions (Sequence[str]): Ends of the names of images, in any case.
            Not applied to listed files.
        max_unreadable_fraction (float): Share of the files that may be
            unreadable, in [0, 1). Defaults to 0: none.
        verify (bool | int | str): How many files to open at the start: all
            (True), none (False), a number drawn at random, or 'auto' (all up
            to 20 000 files or when ``min_size`` is a number above 0, else
            2 000). Defaults to 'auto'.
        min_size (int | str): Least length in pixels of an image's shorter
            side; a single smaller image is an error. 0: any size will do.
            Defaults to 'auto': an error if most images are smaller than the
            views; a few smaller ones are counted in the log and enlarged.
        white_level: What becomes white of pixels wider than 8 bits, see
            :func:`~dense_ssl.datasets.survey.find_levels`. Defaults to
            'auto': found in a sample of the images.
        pipeline (Sequence): Transforms. Defaults to none.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.BaseDataset`,
            e.g. ``indices``.

    Raises:
        MissingFile, UserError: The folder or the list does not
            exist, or there is no image.
        UnreadableImage: More files are unreadable than allowed.
        UserError: Images are too small (see ``min_size``), or an argument
            makes no sense.
    """

    def __init__(
        self,
        data_root: Union[str, Sequence[str]] = '',
        ann_file: str = '',
        extensions: Sequence[str] = EXTENSIONS,
        max_unreadable_fraction: float = 0.0,
        verify: Union[bool, int, str] = 'auto',
        min_size: Union[int, str] = 'auto',
        white_level: WhiteLevel = 'auto',
        pipeline: Sequence = (),
        lazy_init: bool = False,
        **kwargs,
    ):
        roots = [data_root] if isinstance(data_root, (str, os.PathLike)) else list(data_root)
        if not (roots and all(roots) or ann_file):
            raise UserError('UnlabeledImages needs data_root, a folder of images (--data DIR)')
        self.roots = [osp.expanduser(root) for root in roots]
        if len(roots) > 1 and (ann_file or kwargs.get('data_prefix')):
            raise UserError(
                'ann_file and data_prefix go with one data_root: write them into the list, '
                f'data_root={[*roots, ann_file or kwargs["data_prefix"]]}'
            )
        if not 0 <= max_unreadable_fraction < 1:
            raise UserError(
                f'max_unreadable_fraction must lie in [0, 1), got {max_unreadable_fraction}'
            )
        if verify != 'auto' and not (isinstance(verify, (bool, int)) and verify >= 0):
            raise UserError(
                f"verify must be True, False, 'auto' or a number of files, got {verify!r}"
            )
        if min_size != 'auto' and not (isinstance(min_size, int) and min_size >= 0):
            raise UserError(f"min_size must be 'auto' or a number of pixels, got {min_size!r}")
        self.max_unreadable_fraction = max_unreadable_fraction
        self.verify = verify
        self.min_size = min_size
        self.white_level = white_level
        pipeline = build_transforms(pipeline)
        loading = [step for step in pipeline if isinstance(step, LoadRGBImage)]
        self.channels = loading[0].channels if loading else 3
        if self.channels != 3:
            extensions = (*extensions, BANDS)
        self._unreadable: Optional[torch.Tensor] = None
        super().__init__(
            data_root=self.roots[0] if len(roots) == 1 else self.roots,
            ann_file=ann_file,
            with_label=False,
            extensions=extensions,
            pipeline=pipeline,
            lazy_init=lazy_init,
            **kwargs,
        )

    def _join_prefix(self) -> None:
        if len(self.roots) == 1:
            super()._join_prefix()

    def load_data_list(self) -> list[dict]:
        if len(self.roots) == 1:
            paths = self._list(self.img_prefix, self.ann_file)
        else:
            lists = [osp.isfile(root) and not is_pack(root) for root in self.roots]
            paths = once(
                self._list(*((osp.dirname(root), root) if is_list else (root, '')))
                for root, is_list in zip(self.roots, lists)
            )
        return [dict(img_path=path) for path in paths]

    def _list(self, root: str, list_file: str) -> list[str]:
        root = osp.normpath(root)
        packed = is_pack(root)
        if packed:
            open_pack(root)  # what is wrong with it, it says now
        if list_file:
            return read_list(list_file, root)
        return (list_pack if packed else find_images)(root, self.extensions)

    @property
    def where(self) -> str:
        """What messages call it."""
        return self.ann_file or ', '.join(self.roots)

    def full_init(self) -> None:
        if self._fully_initialized:
            return
        super().full_init()
        # One byte a file in memory that the loader's workers share.
        self._unreadable = torch.zeros(len(self), dtype=torch.uint8).share_memory_()
        self._verify_files()
        loading = [
            step
            for step in self.pipeline.transforms
            if isinstance(step, LoadRGBImage) and step.levels is None
        ]
        if loading:
            paths = [self.get_data_info(i)['img_path'] for i in sample(len(self), HEADERS)]
            levels = find_levels(self.white_level, paths, self.where, self.channels)
            for step in loading:
                step.levels = levels

    @property
    def unreadable_count(self) -> int:
        """Different files found unreadable so far, by all workers."""
        return 0 if self._unreadable is None else int(self._unreadable.sum())

    @property
    def unreadable_files(self) -> list[str]:
        """Paths of the files found unreadable so far, by all workers."""
        if self._unreadable is None:
            return []
        return [
            self.get_data_info(i)['img_path'] for i in self._unreadable.nonzero().flatten().tolist()
        ]

    def prepare_data(self, idx: int) -> Optional[dict]:
        """As the base class; None (try another) for a tolerated bad file."""
        if self._unreadable is not None and self._unreadable[idx]:
            return None
        try:
            return super().prepare_data(idx)
        except UnreadableImage as error:
            self._tolerate(idx, error)
            return None

    def _tolerate(self, idx: int, error: UnreadableImage) -> None:
        """Count an unreadable file, or raise if there are too many."""
        allowed = self.max_unreadable_fraction
        if allowed == 0:
            raise UnreadableImage(
                f"{error}. {remedy([error])}, or set the data set's "
                'max_unreadable_fraction (e.g. 0.001) to go on without such files'
            ) from error
        assert self._unreadable is not None, 'full_init makes it'
        self._unreadable[idx] = 1
        count = self.unreadable_count
        if count > allowed * len(self):
            raise UnreadableImage(
                f'{error}. That makes {count} of {len(self)} files unreadable,'
                f' more than max_unreadable_fraction={allowed} allows'
            ) from error
        print_log(
            f'{error}; another image takes its place ({count} unreadable of {len(self)} so far)',
            logger='current',
            level=_loud_level(),
        )

    def _verify_files(self) -> None:
        """Open files before training does (see ``verify``)."""
        number = len(self)
        if self.verify == 'auto':
            every = number <= VERIFY_ALL or self.min_size not in ('auto', 0)
            limit = number if every else VERIFY_SAMPLE
        else:
            limit = number if self.verify is True else int(self.verify)
        if limit <= 0:
            return
        indices = sample(number, limit)
        paths = [self.get_data_info(i)['img_path'] for i in indices]
        results = check_images(paths, self.channels)
        bad = [(i, r) for i, r in zip(indices, results) if isinstance(r, UnreadableImage)]
        if bad and self.max_unreadable_fraction == 0:
            raise UnreadableImage(
                f"{name_unreadable(results)}, or set the data set's "
                'max_unreadable_fraction (e.g. 0.001) to go on without'
            )
        for index, error in bad:
            self._tolerate(int(index), error)
        self._check_sizes(
            [(path, r) for path, r in zip(paths, results) if not isinstance(r, UnreadableImage)]
        )

    def _check_sizes(self, sizes: list) -> None:
        """Refuse images that are too small (see ``min_size``)."""
        if isinstance(self.min_size, int):
            small = _smaller(sizes, self.min_size)
            if small:
                raise UserError(
                    f'{len(small)} of {len(sizes)} images have a side shorter '
                    f'than min_size={self.min_size} pixels:\n{listed(small)}'
                    '\nRemove them or lower min_size'
                )
            return
        views = [
            step.view_size
            for step in self.pipeline.transforms
            if isinstance(step, GeometricMultiView) and step.view_size
        ]
        if not (views and sizes):
            return
        view = int(np.max(views[0]))
        typical = int(np.median([min(size) for _, size in sizes]))
        small = _smaller(sizes, view)
        if typical < view:
            smaller = typical // 32 * 32  # 32: the backbones' stride
            advice = (
                "the data set's min_size=0 enlarges them all the same "
                '(--cfg-options train_dataloader.dataset.min_size=0)'
            )
            if smaller:
                advice = (
                    'use smaller views, which loses nothing and saves '
                    f'time (--cfg-options view_size={smaller}), or {advice}'
                )
            raise UserError(
                f'the images of {self.where} are smaller than the views of {view} '
                f'pixels: the median of the shorter side is {typical}:\n'
                f'{listed(small)}\n{advice[0].upper()}{advice[1:]}'
            )
        if small:
            print_log(
                f'{len(small)} of {len(sizes)} images are smaller than the '
                f'views ({view} pixels) and get enlarged, for instance '
                f'{small[0]}',
                logger='current',
                level=logging.INFO,
            )


def _smaller(sizes: list, limit: int) -> list[str]:
    """The files whose shorter side is below ``limit`` pixels."""
    return [f'{path} ({w} x {h})' for path, (w, h) in sizes if min(w, h) < limit]


def _loud_level() -> int:
    # mmengine drops warnings of ranks other than 0, but each rank sees its
    # own share of the files.
    return logging.WARNING if process_rank() == 0 else logging.ERROR
