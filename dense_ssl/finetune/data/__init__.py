"""The user's own labelled data in a downstream config."""

import argparse

from mmengine.config import Config

from dense_ssl.errors import UserError

from .class_folders import use_image_folder
from .coco import use_coco_data
from .label_maps import parse_classes, use_segmentation_data

__all__ = ['use_coco_data', 'use_image_folder', 'use_labels', 'use_segmentation_data']

#: By the first argument of each kind: framework of the config.
_FRAMEWORKS = {'coco_ann': 'mmdet', 'seg_data': 'mmseg', 'image_folder': 'mmpretrain'}


def use_labels(cfg: Config, args: argparse.Namespace) -> None:
    """Point ``cfg`` at the data that ``--coco-*``, ``--seg-*`` or ``--image-folder`` name.

    Raises:
        UserError: Arguments that do not go together, or not with the config.
    """
    if args.coco_ann and args.seg_data:
        raise UserError('give --coco-ann or --seg-data, not both.')
    if bool(args.coco_ann) != bool(args.coco_images):
        raise UserError('--coco-ann and --coco-images go together.')
    if args.coco_val_ann and not args.coco_ann:
        raise UserError('--coco-val-ann needs --coco-ann as well.')
    if args.seg_classes and not args.seg_data:
        raise UserError('--seg-classes needs --seg-data as well.')
    for name, framework in _FRAMEWORKS.items():
        if getattr(args, name) and cfg.get('default_scope') != framework:
            raise UserError(
                f'--{name.replace("_", "-")} is for {framework} configs, {args.config} is none.'
            )
    if args.image_folder:
        use_image_folder(cfg, args.image_folder)
    if args.coco_ann:
        use_coco_data(cfg, args.coco_ann, args.coco_images, args.coco_val_ann, args.coco_val_images)
    if args.seg_data:
        use_segmentation_data(
            cfg, args.seg_data, parse_classes(args.seg_classes), args.accept_absent_classes
        )
