# MoCo v2 is DenseCL without its dense branch. By SGD, which gave a better probe than AdamW at 1e-3.
_base_ = [
    '../_base_/models/densecl_small_r50.py',
    '../_base_/datasets/folder_mocov2.py',
    '../_base_/schedules/small_sgd_20k.py',
    '../_base_/small_runtime.py',
]
model = dict(loss_lambda=0.0, projector=dict(with_dense=False))
