_base_ = [
    '../_base_/models/densecl_r50.py',
    '../_base_/datasets/imagenet_mocov2.py',
    '../_base_/schedules/sgd_coslr_200e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=32)
