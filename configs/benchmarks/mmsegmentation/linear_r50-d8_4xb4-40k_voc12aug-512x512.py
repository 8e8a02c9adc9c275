# Linear probe of the frozen backbone: one norm and one 1x1 convolution are
# trained. VOC12 aug, 40k iterations of 16 images.
_base_ = ['./fcn_r50-d8_4xb4-20k_voc12aug-512x512.py']
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
        num_classes=21,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=True,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=None,
)

train_cfg = dict(max_iters=40000)  # base: 20k
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=40000, by_epoch=False)]
