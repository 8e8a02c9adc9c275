# RetinaNet R50-FPN, COCO, 2x (180k iterations of 16 images).
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/coco_boxes.py',
    '../_base_/detection_180k.py',
]
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(
        frozen_stages=-1,  # base: 1
        norm_eval=False,  # base: True
        norm_cfg=norm_cfg,
        init_cfg=None,
    ),  # base: downloads supervised weights
    neck=dict(norm_cfg=norm_cfg),
)  # base: no normalisation
optim_wrapper = dict(optimizer=dict(lr=0.01))
