_base_ = [
    '../_base_/models/pixpro_fpn_r50.py',
    '../_base_/datasets/imagenet_byol.py',
    '../_base_/schedules/lars_coslr_100e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=128)
