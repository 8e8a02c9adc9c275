# Your own images: --cfg-options data_root=DIR
_base_ = [
    '../_base_/models/densecl_r50.py',
    '../_base_/datasets/folder_mocov2.py',
    '../_base_/schedules/sgd_coslr_200e.py',
    '../_base_/folder_runtime.py',
]
train_dataloader = dict(batch_size=32)
