_base_ = [
    '../_base_/models/mcl_r50.py',
    '../_base_/datasets/folder_mcl.py',
    '../_base_/schedules/small_sgd_20k.py',
    '../_base_/small_runtime.py',
]
