# Your own images, views at the size of their cells: cheaper to make
_base_ = [
    '../_base_/models/mcl_r50.py',
    '../_base_/datasets/folder_mcl_direct.py',
    '../_base_/schedules/mcl_lars_coslr_100e.py',
    '../_base_/folder_runtime.py',
]
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=4.0))
auto_scale_lr = dict(base_batch_size=1024)
