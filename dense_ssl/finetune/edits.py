"""Changes of a mmdet or mmseg config that users ask for, in one place each."""

from collections.abc import Iterator
from typing import Callable

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from dense_ssl.config_tree import dicts, type_name
from dense_ssl.errors import TransferError

SPLITS = ('train', 'val', 'test')


def set_num_classes(cfg: Config, num_classes: int) -> None:
    """Set every ``num_classes`` inside the model."""
    changed = 0
    for node in dicts(cfg.model):
        if 'num_classes' in node:
            node.num_classes = num_classes
            changed += 1
    if not changed:
        raise TransferError(f'{cfg.filename}: no head of the model has num_classes.')


def set_scale(cfg: Config, long: int, short: int) -> None:
    """Resize images to fit into ``long`` x ``short`` pixels, ratio kept.

    ``short`` takes the place of the largest short side of the config; smaller
    ones of a multi-scale recipe keep their ratio to it.
    """
    if not 0 < short <= long:
        raise TransferError(f'--scale wants LONG SHORT with 0 < SHORT <= LONG, got {long} {short}.')
    for transform in _transforms(cfg):
        if type_name(transform) in ('Resize', 'RandomResize'):
            transform['scale'] = (long, short)
        elif type_name(transform) == 'RandomChoiceResize':
            largest = max(min(scale) for scale in transform['scales'])
            transform['scales'] = [
                (long, round(short * min(s) / largest)) for s in transform['scales']
            ]


def set_crop(cfg: Config, height: int, width: int) -> None:
    """Train mmseg on crops of ``height`` x ``width``, test whole images."""
    if min(height, width) < 32:
        raise TransferError(
            f'--crop wants HEIGHT WIDTH of at least 32 pixels, got {height} '
            f'{width}: the network reduces by 8 to 32.'
        )
    crops = [t for t in _transforms(cfg) if type_name(t) == 'RandomCrop']
    if not crops:
        raise TransferError(f'{cfg.filename} crops nothing: --crop is for segmentation.')
    for transform in crops:
        transform['crop_size'] = (height, width)
    for transform in _transforms(cfg):
        if type_name(transform) == 'Pad' and transform.get('size'):
            transform['size'] = (height, width)  # of crops at the border
    cfg.model.data_preprocessor.size = (height, width)
    cfg.model.test_cfg = ConfigDict(mode='whole')


def drop_masks(cfg: Config) -> None:
    """Leave the mask branch out: boxes are trained and evaluated."""
    if 'mask_head' not in cfg.model.get('roi_head', {}):
        return
    cfg.model.roi_head.mask_head = None
    cfg.model.roi_head.mask_roi_extractor = None
    for transform in _transforms(cfg):
        if type_name(transform) == 'LoadAnnotations':
            transform['with_mask'] = False
    for name in ('val_evaluator', 'test_evaluator'):
        for evaluator in dicts(cfg.get(name)):
            if type_name(evaluator) == 'CocoMetric':
                evaluator.metric = 'bbox'
    print_log('Not every object has a mask: the mask branch is left out.', 'current')


def read_any_mask(cfg: Config) -> None:
    """Have mmdet read masks as bitmaps: of polygons alone, it drops objects with RLE."""
    for transform in _transforms(cfg):
        if transform.get('with_mask'):
            transform.pop('poly2mask', None)


def allow_objects(cfg: Config, most: int) -> None:
    """Keep and evaluate ``most`` detections an image, from twice as many proposals."""
    for node in dicts([cfg.model.get('test_cfg'), cfg.model.get('train_cfg')]):
        if 'max_per_img' in node:
            least = most if 'score_thr' in node else 2 * most
            node.max_per_img = max(node.max_per_img, least)
            if 'nms_pre' in node:
                node.nms_pre = max(node.nms_pre, node.max_per_img)
    for name in ('val_evaluator', 'test_evaluator'):
        for evaluator in dicts(cfg.get(name)):
            if type_name(evaluator) in ('CocoMetric', 'CrowdedCocoMetric'):
                evaluator.type = 'dense_ssl.finetune.crowded_coco_metric.CrowdedCocoMetric'
                evaluator.proposal_nums = (100, 300, max(1000, most))


def wants_masks(cfg: Config) -> bool:
    """Whether the model has a mask branch."""
    return bool(cfg.model.get('roi_head', {}).get('mask_head'))


def for_each_dataset(cfg: Config, change: Callable[[str, ConfigDict], None]) -> None:
    """Call ``change(split, dataset config)`` for train, val and test."""
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            change(split, loader.dataset)


def find_pipeline(dataset: ConfigDict) -> list:
    """The pipeline of a data set, also of one wrapped or joined."""
    for node in dicts(dataset):
        if 'pipeline' in node:
            return node.pipeline
    raise TransferError(f'the data set {type_name(dataset)} has no pipeline.')


def _loaders(cfg: Config) -> Iterator[ConfigDict]:
    for split in SPLITS:
        if cfg.get(f'{split}_dataloader'):
            yield cfg[f'{split}_dataloader']


def _transforms(cfg: Config) -> Iterator[ConfigDict]:
    for loader in _loaders(cfg):
        for node in dicts(loader.dataset):
            yield from node.get('pipeline') or ()
