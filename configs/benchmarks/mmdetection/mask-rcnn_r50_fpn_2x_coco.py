# Mask R-CNN R50-FPN, COCO, 2x (180k iterations of 16 images).
_base_ = [
    '../_base_/mask-rcnn_r50_fpn_bn.py',
    '../_base_/coco_masks.py',
    '../_base_/detection_180k.py',
]
