# Mask R-CNN R50-FPN, COCO, 1x (90k iterations of 16 images), 4conv1fc head.
_base_ = [
    '../_base_/mask-rcnn_r50_fpn_bn.py',
    '../_base_/coco_masks.py',
    '../_base_/detection_90k.py',
]
