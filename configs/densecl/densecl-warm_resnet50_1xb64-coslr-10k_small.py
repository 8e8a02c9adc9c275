# To be given --init-from: in-domain pre-training on top of other weights. The momentum networks
# start from them, too, and follow more slowly than from random weights.
_base_ = [
    '../_base_/models/densecl_r50.py',
    '../_base_/datasets/folder_mocov2.py',
    '../_base_/schedules/small_warm_sgd_10k.py',
    '../_base_/small_runtime.py',
]
model = dict(
    queue_len=4096, momentum=0.999, backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
)
