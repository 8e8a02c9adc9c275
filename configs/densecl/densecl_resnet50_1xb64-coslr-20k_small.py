_base_ = [
    '../_base_/models/densecl_r50.py',
    '../_base_/datasets/folder_mocov2.py',
    '../_base_/schedules/small_sgd_20k.py',
    '../_base_/small_runtime.py',
]
model = dict(
    # About a hundred steps old at most: 65536 keys would be a dozen epochs of 5 000 images.
    queue_len=4096,
    # 0.999 follows in some thousand steps, which is most of a short run.
    momentum=0.99,
    backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
)
