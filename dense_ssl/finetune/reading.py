"""Images of mmdet's, mmseg's and mmpretrain's data sets, read as pre-training reads them."""

import copy
from collections.abc import Iterator
from typing import Optional

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import DATASETS, init_default_scope

from dense_ssl.config_tree import type_name
from dense_ssl.datasets.survey import check_images, find_levels, listed, name_unreadable, sample
from dense_ssl.errors import TransferError

from .bands import measure_downstream_bands
from .edits import SPLITS, dicts

__all__ = ['read_alike']

#: Of a split with more images than the first number, so many are opened as the second.
_ALL, _SOME = 20_000, 2_000
#: By path, width and height that COCO annotations tell.
Sizes = dict[str, Optional[tuple[int, int]]]


def read_alike(cfg: Config, *splits: str) -> None:
    """Replace every loading of image files by ours, in place, and open files of ``splits``.

    The white level of wide pixels is ``cfg.white_level``, or found in the
    training images and then used for all splits: what is evaluated has to
    look like what was trained on.

    Raises:
        TransferError: Images cannot be read; names them.
    """
    channels = cfg.get('channels', 3)
    parts = [cfg.get(f'{split}_dataloader') for split in SPLITS] + [cfg.get('tta_pipeline')]
    loading = [node for node in dicts(parts) if type_name(node) == 'LoadImageFromFile']
    for step in loading:
        _replace(step, channels)
    loading = [node for node in dicts(parts) if type_name(node) == 'LoadRGBImage']
    if not loading:
        return
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    sizes = {split: _image_sizes(cfg, split) for split in splits}
    faults = [f'{split}: {fault}' for split in splits for fault in _faults(sizes[split], channels)]
    if faults:
        raise TransferError('\n'.join(faults) + '\nNothing was trained or evaluated.')
    white_level = cfg.get('white_level', 'auto')
    train = sizes.get('train') or _image_sizes(cfg, 'train', may_be_absent=True)
    where = 'training' if train else splits[-1]
    paths = list(train or sizes[splits[-1]])
    levels = find_levels(white_level, paths, f'{where} images', channels)
    for step in loading:
        if levels and step.get('white_level') is None:
            step.white_level = dict(levels)
    if channels != 3:
        measure_downstream_bands(cfg, paths, levels, where)


def _replace(step: ConfigDict, channels: int) -> None:
    """By ours, where that reads the same files in the same form; else say so."""
    remote = {**(step.get('backend_args') or {}), **(step.get('file_client_args') or {})}
    if (
        remote.get('backend', 'local') not in ('local', 'disk')
        or step.get('color_type', 'color') != 'color'
        or step.get('ignore_empty')
    ):
        print_log(f'{dict(step)} stays: pixels may differ from those of pre-training', 'current')
        return
    to_float32 = step.get('to_float32', False)
    step.clear()
    # What mmcv gives, and the frameworks' preprocessors expect.
    step.update(type='dense_ssl.LoadRGBImage', channel_order='bgr', to_float32=to_float32)
    if channels != 3:
        step.channels = channels


def _faults(said: Sizes, channels: int) -> Iterator[str]:
    """What is wrong with some of the files, or with the sizes that annotations tell of them."""
    paths = list(said)
    if len(paths) > _ALL:
        paths = [paths[i] for i in sample(len(paths), _SOME)]
    found = check_images(paths, channels)
    if fault := name_unreadable(found):
        yield fault
    wrong = [
        f'{path}: {size[0]} x {size[1]}, not {other[0]} x {other[1]}'
        for path, size, other in zip(paths, found, (said[path] for path in paths))
        if isinstance(size, tuple) and other is not None and size != other
    ]
    if wrong:
        yield (
            f'{len(wrong)} of {len(paths)} images looked at have another size, shown upright, than '
            f'their annotations say:\n{listed(wrong)}\nCorrect the annotations (of images that '
            'are stored rotated, by EXIF, they must be made as shown), or give the images that '
            'they were made on'
        )


def _image_sizes(cfg: Config, split: str, may_be_absent: bool = False) -> Sizes:
    """Local images of all data sets of a split, joined and wrapped ones too, by their paths."""
    sizes: Sizes = {}
    for node in dicts((cfg.get(f'{split}_dataloader') or {}).get('dataset')):
        if 'type' not in node or 'pipeline' not in node or {'dataset', 'datasets'} & node.keys():
            continue
        try:
            dataset = DATASETS.build(dict(copy.deepcopy(node), pipeline=[]))
        except FileNotFoundError:
            if may_be_absent:
                continue
            raise
        for info in map(dataset.get_data_info, range(len(dataset))):
            if '://' not in info.get('img_path', '://'):
                coco = hasattr(dataset, 'cat_ids') and {'width', 'height'} <= info.keys()
                sizes[info['img_path']] = (info['width'], info['height']) if coco else None
    return sizes
