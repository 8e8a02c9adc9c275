"""MoCo v2 by iterations, with a projector for the narrowest network of the tests."""

_base_ = '../../configs/densecl/mocov2_resnet50_8xb32-coslr-200e_in1k.py'
model = dict(
    queue_len=16,
    momentum=0.9,
    projector=dict(in_channels=64, hidden_channels=64),
)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=100, by_epoch=False, begin=0, end=100)]
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=100)
train_dataloader = dict(sampler=dict(type='InfiniteSampler', shuffle=True))
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=100), logger=dict(interval=1))
log_processor = dict(by_epoch=False)
