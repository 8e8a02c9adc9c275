# detectron2's 1x schedule: 90k iterations of 16 images, and what all our
# detection benchmarks share.
_base_ = ['mmdet::_base_/schedules/schedule_1x.py', 'mmdet::_base_/default_runtime.py']
custom_imports = dict(imports=['dense_ssl.finetune'], allow_failed_imports=False)
# Synchronised where processes are several: mmengine converts `BN` then.
sync_bn = 'torch'

train_cfg = dict(  # base: 12 epochs, 88k iterations
    _delete_=True, type='IterBasedTrainLoop', max_iters=90000, val_interval=10000
)
param_scheduler = [
    # Base: warm-up over 500 iterations.
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(
        type='MultiStepLR', begin=0, end=90000, by_epoch=False, milestones=[60000, 80000], gamma=0.1
    ),
]
# No weight decay on the norm layers (base: decayed like the rest).
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0.0))

default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=10000, max_keep_ckpts=2),
    logger=dict(log_metric_by_epoch=False),
)
log_processor = dict(by_epoch=False)
# detectron2 refines the norm statistics over 200 iterations before it
# evaluates.
custom_hooks = [dict(type='dense_ssl.finetune.PreciseBatchNormHook', iterations=200)]
