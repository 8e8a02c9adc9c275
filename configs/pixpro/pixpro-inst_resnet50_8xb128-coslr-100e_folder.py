# Your own images: --cfg-options data_root=DIR
_base_ = [
    '../_base_/models/pixpro_inst_r50.py',
    '../_base_/datasets/folder_byol.py',
    '../_base_/schedules/lars_coslr_100e.py',
    '../_base_/folder_runtime.py',
]
train_dataloader = dict(batch_size=128)
