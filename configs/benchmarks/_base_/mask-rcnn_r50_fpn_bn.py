# Mask R-CNN R50-FPN with batch normalisation everywhere, all of it trained.
_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py']
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(
        frozen_stages=-1,  # base: 1, which keeps the stem at its pre-training
        norm_eval=False,  # base: True
        norm_cfg=norm_cfg,
        init_cfg=None,
    ),  # base: downloads supervised weights
    neck=dict(norm_cfg=norm_cfg),  # base: no normalisation
    roi_head=dict(
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead',  # base: two linear layers
            conv_out_channels=256,
            norm_cfg=norm_cfg,
        ),
        mask_head=dict(norm_cfg=norm_cfg),
    ),
)  # base: no normalisation
