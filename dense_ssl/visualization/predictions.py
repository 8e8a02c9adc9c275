"""Pictures of a fine-tuned model's predictions beside the ground truth."""

from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmengine import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData

__all__ = ['draw_detections', 'draw_segmentations']


def _load(config, checkpoint):
    """Model in evaluation mode and validation set of a dumped config."""
    from mmengine.registry import DATASETS, MODELS
    from mmengine.runner import load_checkpoint

    from dense_ssl.transfer.checkpoint import guard_mmengine

    guard_mmengine()
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    # the checkpoint brings every weight: nothing else is to be read
    cfg.model.setdefault('backbone', {})['init_cfg'] = None
    model = MODELS.build(cfg.model)
    load_checkpoint(model, str(checkpoint), map_location='cpu', strict=True)
    return model.eval(), DATASETS.build(cfg.val_dataloader.dataset)


def _spread(length: int, count: int) -> list[int]:
    """``count`` indices spread over a data set."""
    count = min(length, count)
    return [round(i * length / count) for i in range(count)]


@torch.no_grad()
def _predict(model, item):
    batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
    return model.test_step(batch)[0]


def _enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    return mmcv.imrescale(image, scale, interpolation='bicubic')


def _enlarge_masks(masks: torch.Tensor, scale: int) -> torch.Tensor:
    """Masks (N, H, W) enlarged by a whole factor, nearest neighbour."""
    if not len(masks):
        return masks.new_zeros((0, masks.shape[1] * scale, masks.shape[2] * scale))
    return F.interpolate(masks[None].float(), scale_factor=scale).to(masks.dtype)[0]


def _enlarge_instances(instances, scale: int) -> None:
    """Scale boxes and masks of mmdet instances in place."""
    boxes = instances.bboxes
    instances.bboxes = getattr(boxes, 'tensor', boxes) * scale
    if 'masks' in instances:
        masks = instances.masks
        if not isinstance(masks, torch.Tensor):
            masks = torch.from_numpy(masks.to_ndarray().reshape(-1, masks.height, masks.width))
        instances.masks = _enlarge_masks(masks, scale)


def _scale(image: np.ndarray) -> int:
    """Small pictures are enlarged, so that labels stay readable."""
    return max(1, 384 // max(image.shape[:2]))


def draw_detections(config, checkpoint, paths: Sequence[Path], score: float = 0.25) -> None:
    """Draw ground truth (left) and detections (right) of validation images.

    Args:
        config: Config file of the fine-tuning run (mmdet).
        checkpoint: Its trained checkpoint.
        paths: Files to write, of images spread over the validation set.
        score: Detections below this score are not drawn.
    """
    from mmdet.utils import register_all_modules
    from mmdet.visualization import DetLocalVisualizer

    register_all_modules(init_default_scope=False)
    model, dataset = _load(config, checkpoint)
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = dict(dataset.metainfo)
    for path, index in zip(paths, _spread(len(dataset), len(paths))):
        sample = _predict(model, dataset[index])
        image = mmcv.imread(sample.img_path, channel_order='rgb')
        scale = _scale(image)
        for instances in (sample.gt_instances, sample.pred_instances):
            _enlarge_instances(instances, scale)
        visualizer.add_datasample(
            'detection',
            _enlarge(image, scale),
            sample,
            pred_score_thr=score,
            out_file=str(path),
        )


def draw_segmentations(config, checkpoint, paths: Sequence[Path]) -> None:
    """Draw ground truth (left) and label maps (right) of validation images.

    Args:
        config: Config file of the fine-tuning run (mmseg).
        checkpoint: Its trained checkpoint.
        paths: Files to write, of images spread over the validation set.
    """
    from mmseg.utils import register_all_modules
    from mmseg.visualization import SegLocalVisualizer

    register_all_modules(init_default_scope=False)
    model, dataset = _load(config, checkpoint)
    meta = dataset.metainfo
    # mmseg draws the palette as it is; without one, colours are drawn
    palette = (
        meta.get('palette')
        or np.random.default_rng(0).integers(0, 256, (len(meta['classes']), 3)).tolist()
    )
    visualizer = SegLocalVisualizer(alpha=0.6)
    visualizer.dataset_meta = dict(classes=meta['classes'], palette=palette)
    for path, index in zip(paths, _spread(len(dataset), len(paths))):
        sample = _predict(model, dataset[index])
        image = mmcv.imread(sample.img_path, channel_order='rgb')
        scale = _scale(image)
        for name in ('gt_sem_seg', 'pred_sem_seg'):
            labels = sample.get(name).data
            sample.set_field(PixelData(data=_enlarge_masks(labels, scale)), name)
        visualizer.add_datasample(
            'segmentation', _enlarge(image, scale), sample, out_file=str(path)
        )
