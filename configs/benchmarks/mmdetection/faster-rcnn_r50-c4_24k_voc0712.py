# Faster R-CNN R50-C4 with a norm behind res5, VOC 07+12, 24k iterations of
# 16 images. The papers advise the mean of five runs (--seed).
_base_ = [
    '../_base_/faster-rcnn_r50-c4_bn.py',
    '../_base_/voc0712.py',
    '../_base_/detection_90k.py',
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=20)))

train_cfg = dict(max_iters=24000, val_interval=24000)  # base: 90k
param_scheduler = [
    # Base: warm-up over 1000 iterations, steps at 60k and 80k.
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(
        type='MultiStepLR', begin=0, end=24000, by_epoch=False, milestones=[18000, 22000], gamma=0.1
    ),
]
default_hooks = dict(checkpoint=dict(interval=4000))
