# Your own images: --cfg-options data_root=DIR
_base_ = 'densecl_resnet50_8xb32-coslr-200e_in1k.py'
data_root = 'data/images'
train_dataloader = dict(num_workers=4, dataset=dict(data_root=data_root))
custom_hooks = [
    dict(type='EpochSeedHook'),
    dict(type='BatchNormCheckHook'),
    # any number of images: shorten the queues where they are too long
    dict(type='QueueLengthHook', if_longer='fit'),
    dict(type='MomentumScheduleHook'),
]
