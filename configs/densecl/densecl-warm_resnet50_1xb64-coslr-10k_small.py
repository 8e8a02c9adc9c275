# To be given --init-from: in-domain pre-training on top of other weights. The momentum networks
# start from them, too, and follow more slowly than from random weights. Not tried at length.
_base_ = [
    '../_base_/models/densecl_small_r50.py',
    '../_base_/datasets/folder_mocov2.py',
    '../_base_/schedules/small_warm_sgd_10k.py',
    '../_base_/small_runtime.py',
]
model = dict(momentum=0.999)
