_base_ = [
    '../_base_/models/mcl_r50.py',
    '../_base_/datasets/imagenet_mcl.py',
    '../_base_/schedules/mcl_lars_coslr_100e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=128)
