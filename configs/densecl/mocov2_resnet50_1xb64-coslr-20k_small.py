# MoCo v2 is DenseCL without its dense branch. By SGD, which served it better than AdamW.
_base_ = [
    '../_base_/models/densecl_r50.py',
    '../_base_/datasets/folder_mocov2.py',
    '../_base_/schedules/small_sgd_20k.py',
    '../_base_/small_runtime.py',
]
model = dict(
    loss_lambda=0.0,
    # 64 batches old at most: 65536 keys would be a dozen epochs of 5 000 images.
    queue_len=4096,
    # 0.999 follows in thousands of steps, which is most of a short run.
    momentum=0.99,
    # Stride 16, as for DenseCL: the views are small.
    backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    projector=dict(hidden_channels=512, with_dense=False),
)
