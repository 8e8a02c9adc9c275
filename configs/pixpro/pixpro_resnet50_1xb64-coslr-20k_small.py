# One machine, 1 000 to 100 000 images; --iters for another length.
_base_ = [
    '../_base_/models/pixpro_r50.py',
    '../_base_/datasets/folder_byol.py',
    # LARS moves a layer by a thousandth of its norm in a step, too little for a short run; SGD
    # at a rate that it can bear smooths the maps and learns little else (docs/results.md).
    '../_base_/schedules/small_adamw_20k.py',
    '../_base_/small_runtime.py',
]
model = dict(
    # 0.99 rising to 1 is meant for 100 epochs of ImageNet: in a short run the copy stands still
    # while there is still much to learn.
    momentum=0.996,
    end_momentum=None,
    # Stride 8: propagation mixes the cells of a map, so that it takes many of them.
    backbone=dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
    projector=dict(hidden_channels=1024),
)
