# Mask R-CNN R50-C4 with a norm behind res5, COCO, 2x (180k iterations).
_base_ = [
    '../_base_/mask-rcnn_r50-c4_bn.py',
    '../_base_/coco_masks.py',
    '../_base_/detection_180k.py',
]
