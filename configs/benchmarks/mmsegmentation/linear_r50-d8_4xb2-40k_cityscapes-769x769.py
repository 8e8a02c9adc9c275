# Linear probe of the frozen backbone: one norm and one 1x1 convolution are
# trained. Cityscapes, 40k iterations of 8 images.
_base_ = ['./fcn_r50-d8_4xb2-40k_cityscapes-769x769.py']
model = dict(
    # mmcv's ResNets freeze their norms with their stages; `norm_eval` keeps
    # all statistics at the pre-training's.
    backbone=dict(frozen_stages=4, norm_eval=True),
    decode_head=dict(
        _delete_=True,
        type='dense_ssl.finetune.mmseg_parts.LinearHead',
        in_channels=2048,
        in_index=3,
        dropout_ratio=0.0,
        num_classes=19,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=True,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=None,
)
