# For one machine and 1 000 to 100 000 images. Counted in optimiser steps: what a network learns
# in an epoch depends on how many images there happen to be.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.06, momentum=0.9, weight_decay=1e-4)
)
# A short warm-up: at 20k steps it costs nothing, and the queues are full by then.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', T_max=19500, by_epoch=False, begin=500, end=20000),
]
train_cfg = dict(type='StepTrainLoop', max_iters=20000)
auto_scale_lr = dict(base_batch_size=64)
