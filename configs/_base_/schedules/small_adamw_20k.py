# As small_sgd_20k.py, by AdamW: in short runs PixPro, PixContrast and DenseCL learnt more by it
# (docs/results.md).
_base_ = './small_sgd_20k.py'
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
