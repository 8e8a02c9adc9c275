# One machine, 1 000 to 100 000 images; --iters for another length.
_base_ = [
    '../_base_/models/pixcontrast_r50.py',
    '../_base_/datasets/folder_byol.py',
    # LARS moves a layer by a thousandth of its norm in a step, too little for a short run.
    '../_base_/schedules/small_adamw_20k.py',
    '../_base_/small_runtime.py',
]
model = dict(
    # 0.99 rising to 1 is meant for 100 epochs of ImageNet: in a short run the copy stands still
    # while there is still much to learn.
    momentum=0.996,
    end_momentum=None,
    # Stride 16: small views have no more than 2x2 or 3x3 cells at stride 32.
    backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    projector=dict(hidden_channels=1024),
)
