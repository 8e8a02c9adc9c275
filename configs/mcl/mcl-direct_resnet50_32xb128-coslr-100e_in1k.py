# Views at the size of their cells: cheaper to make
_base_ = [
    '../_base_/models/mcl_r50.py',
    '../_base_/datasets/imagenet_mcl_direct.py',
    '../_base_/schedules/mcl_lars_coslr_100e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=128)
