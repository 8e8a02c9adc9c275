"""The job's three trainings: the real configs, shrunk to minutes on CPU."""

from dataclasses import dataclass

__all__ = [
    'Budget',
    'as_options',
    'pretrain_options',
    'detection_options',
    'segmentation_options',
    'PRETRAIN_CONFIG',
    'DETECTION_CONFIG',
    'SEGMENTATION_CONFIG',
]

PRETRAIN_CONFIG = 'configs/densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'
DETECTION_CONFIG = 'configs/benchmarks/mmdetection/mask-rcnn_r50_fpn_1x_coco.py'
SEGMENTATION_CONFIG = 'configs/benchmarks/mmsegmentation/fcn_r50-d8_4xb2-40k_cityscapes-769x769.py'

# channels of R18's four stages, which takes the place of R50
R18 = [64, 128, 256, 512]


@dataclass
class Budget:
    """How long each part of the job trains.

    Attributes:
        views: Pre-training images in all, repeats included.
        detection_iters, segmentation_iters: Iterations of fine-tuning.
        batch_size: Of pre-training.
        size: Side in pixels that fine-tuning images are resized to.
        view_size: Side of the pre-training views in pixels.
        fine_tune_batch: Batch size of fine-tuning.
    """

    views: int = 2560
    batch_size: int = 32
    detection_iters: int = 110
    segmentation_iters: int = 80
    size: int = 128
    view_size: int = 96
    fine_tune_batch: int = 4

    def epochs(self, images: int) -> int:
        """Epochs for a data set of ``images``."""
        return max(1, round(self.views / images))


def _text(value) -> str:
    """A value in the form ``--cfg-options`` reads."""
    if isinstance(value, (list, tuple)):
        inner = ','.join(_text(v) for v in value)
        return f'[{inner}]' if isinstance(value, list) else f'({inner})'
    return str(value)


def as_options(options: dict) -> list[str]:
    """``--cfg-options`` and its ``key=value`` words."""
    return ['--cfg-options'] + [f'{k}={_text(v)}' for k, v in options.items()]


def pretrain_options(data, budget: Budget) -> list[str]:
    """DenseCL on the folder: R18, small views, a queue of 1024 at most."""
    images = data.num_unlabelled
    batch = min(budget.batch_size, images)
    per_epoch = images // batch
    epochs = budget.epochs(images)
    options = {
        'data_root': data.unlabelled,
        'model.backbone.depth': 18,
        'model.projector.in_channels': R18[-1],
        'model.projector.hidden_channels': R18[-1],
        'model.queue_len': min(1024, 1 << (images.bit_length() - 1)),
        # 0.999 would hardly move the momentum network in so few steps
        'model.momentum': 0.99,
        'train_dataloader.dataset.pipeline.1.view_size': budget.view_size,
        # the user's images may be of any size; smaller ones are enlarged
        '+train_dataloader.dataset.min_size': 0,
        'train_dataloader.batch_size': batch,
        'train_dataloader.num_workers': 2,
        'train_cfg.max_epochs': epochs,
        'param_scheduler.0.T_max': epochs,
        'param_scheduler.0.end': epochs,
        'optim_wrapper.optimizer.lr': 0.06,
        'default_hooks.logger.interval': max(1, min(10, per_epoch // 2)),
        'default_hooks.checkpoint.interval': epochs,
        'randomness.seed': 0,
    }
    if data.unlabelled_list:
        options['+train_dataloader.dataset.ann_file'] = data.unlabelled_list
    return as_options(options)


def detection_options(data, budget: Budget) -> list[str]:
    """Mask R-CNN R18-FPN with 64 channels and few RoIs."""
    return [
        '--coco-ann',
        data.annotations['train'],
        '--coco-images',
        data.images['train'],
        '--coco-val-ann',
        data.annotations['val'],
        '--coco-val-images',
        data.images['val'],
        '--small',
        64,
        *_shrink(budget, budget.detection_iters),
    ]


def segmentation_options(data, budget: Budget) -> list[str]:
    """FCN R18-d8 with 64 channels on small images."""
    classes = []
    if data.semantic_classes:
        # A few images, drawn at random, may lack a rare class.
        classes = ['--seg-classes', ','.join(data.semantic_classes), '--accept-absent-classes']
    return [
        '--seg-data',
        data.semantic,
        *classes,
        '--small',
        64,
        '--crop',
        budget.size,
        budget.size,
        *_shrink(budget, budget.segmentation_iters),
        # the recipe's 0.01 is for 40k iterations
        '--cfg-options',
        'optim_wrapper.optimizer.lr=0.05',
    ]


def _shrink(budget: Budget, iterations: int) -> list[str]:
    return [
        '--scale',
        budget.size,
        budget.size,
        '--iters',
        iterations,
        '--batch-size',
        budget.fine_tune_batch,
        '--workers',
        1,
        '--seed',
        0,
    ]
