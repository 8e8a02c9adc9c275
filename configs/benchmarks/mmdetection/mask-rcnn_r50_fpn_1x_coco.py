# Mask R-CNN R50-FPN, COCO, 1x (90k iterations of 16 images).
# Over mmdet's base: what detectron2, which the papers used, does differently.
_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py']
custom_imports = dict(
    imports=['dense_ssl.transfer'], allow_failed_imports=False)

# Batch normalisation is trained everywhere, synchronised where processes are
# several (mmengine converts `BN` then, and only then).
norm_cfg = dict(type='BN', requires_grad=True)
sync_bn = 'torch'
model = dict(
    backbone=dict(
        frozen_stages=-1,  # base: 1, which keeps the stem at its pre-training
        norm_eval=False,  # base: True
        norm_cfg=norm_cfg,
        init_cfg=None),  # base: downloads supervised weights
    neck=dict(norm_cfg=norm_cfg),  # base: no normalisation
    roi_head=dict(
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead',  # base: two linear layers
            conv_out_channels=256,
            norm_cfg=norm_cfg),
        mask_head=dict(norm_cfg=norm_cfg)))  # base: no normalisation

# Short side 640 to 800 (base: always 800).
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='RandomChoiceResize',
        scales=[(1333, short) for short in range(640, 801, 32)],
        keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
train_dataloader = dict(
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))

# 90k iterations (base: 12 epochs, 88k).
train_cfg = dict(
    _delete_=True,
    type='IterBasedTrainLoop',
    max_iters=90000,
    val_interval=10000)
param_scheduler = [
    # Base: warm-up over 500 iterations.
    dict(
        type='LinearLR', start_factor=0.001, by_epoch=False, begin=0,
        end=1000),
    dict(
        type='MultiStepLR',
        begin=0,
        end=90000,
        by_epoch=False,
        milestones=[60000, 80000],
        gamma=0.1)
]
# No weight decay on the norm layers (base: decayed like the rest).
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0.))

default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=10000, max_keep_ckpts=2),
    logger=dict(log_metric_by_epoch=False))
log_processor = dict(by_epoch=False)
