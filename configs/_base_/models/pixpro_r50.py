model = dict(
    type='dense_ssl.PixPro',
    momentum=0.99,
    end_momentum=1.0,  # by cosine over the optimiser steps
    # as released: weights by fan-out, the last norm of a block starts at zero
    backbone=dict(type='ResNet', depth=50, norm_cfg=dict(type='BN'), zero_init_residual=True),
    projector=dict(type='PixelProjector', in_channels=None, hidden_channels=4096, out_channels=256),
    propagation=dict(type='PixelPropagation', in_channels=None, gamma=2.0, transform_layers=1),
    correspondence=dict(type='GeometricCorrespondence', radius=0.7),
    head=dict(type='PixelConsistencyHead'),
)
sync_bn = 'torch'  # on several GPUs; on one, plain batch norm
