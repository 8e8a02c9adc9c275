_base_ = [
    '../_base_/models/pixpro_r50.py',
    '../_base_/datasets/folder_byol.py',
    '../_base_/schedules/small_sgd_20k.py',
    '../_base_/small_runtime.py',
]
model = dict(backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)))
