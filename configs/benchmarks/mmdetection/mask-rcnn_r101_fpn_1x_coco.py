# Mask R-CNN R101-FPN, COCO, 1x.
_base_ = ['./mask-rcnn_r50_fpn_1x_coco.py']
model = dict(backbone=dict(depth=101))
