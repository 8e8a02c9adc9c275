# Backbone, FPN and towers of mmdet's FCOS (paper, sec. 3.4): P3 to P6, up to
# the third convolution of both towers. P7 is too small to take part.
_base_ = './pixpro_r50.py'
model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    neck=dict(
        type='mmdet.FPN',
        in_channels=None,
        out_channels=256,
        start_level=1,
        add_extra_convs='on_output',
        relu_before_extra_convs=True,
        num_outs=4,
        norm_cfg=dict(type='BN'),
    ),
    levels=(0, 1, 2, 3),
    tower=dict(type='DenseTower', in_channels=None, stacked_convs=3, norm_cfg=dict(type='BN')),
    # both towers, four levels each
    projector=dict(in_channels=None, num_levels=8),
)
