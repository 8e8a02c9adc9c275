model = dict(
    type='dense_ssl.PixContrast',
    momentum=0.99,
    end_momentum=1.0,
    backbone=dict(type='ResNet', depth=50, norm_cfg=dict(type='BN'), zero_init_residual=True),
    projector=dict(type='PixelProjector', in_channels=None, hidden_channels=4096, out_channels=256),
    correspondence=dict(type='GeometricCorrespondence', radius=0.7),
    head=dict(type='PixelContrastHead', temperature=0.3),
)
sync_bn = 'torch'
