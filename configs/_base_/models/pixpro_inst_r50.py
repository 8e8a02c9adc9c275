# With the instance branch, weight alpha = 1 (paper, sec. 3.3).
_base_ = './pixpro_r50.py'
model = dict(
    instance_weight=1.0,
    instance_projector=dict(
        type='PixelProjector', in_channels=None, hidden_channels=4096, out_channels=256
    ),
    instance_predictor=dict(
        type='PixelProjector', in_channels=None, hidden_channels=4096, out_channels=256
    ),
)
