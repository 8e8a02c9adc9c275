# From weights that are good already (--init-from): a fourth of the rate, lest the first steps
# undo what they know, and half the length.
_base_ = './small_sgd_20k.py'
optim_wrapper = dict(optimizer=dict(lr=0.015))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', T_max=9500, by_epoch=False, begin=500, end=10000),
]
train_cfg = dict(max_iters=10000)
