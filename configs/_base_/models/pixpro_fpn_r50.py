# Backbone and FPN of mmdet's Mask R-CNN: every level with weights, P2 to P5.
# P2 (56x56) is averaged to 28x28: pairs grow with the fourth power.
_base_ = './pixpro_r50.py'
model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    neck=dict(
        type='FPN',  # mmdet.FPN's structure and names
        in_channels=None,
        out_channels=256,
        norm_cfg=dict(type='BN'),
    ),
    levels=(0, 1, 2, 3),
    max_grid=28,
    projector=dict(in_channels=None, num_levels=4),
)
