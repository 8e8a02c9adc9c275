model = dict(
    type='dense_ssl.DenseCL',  # mmpretrain has one of that name too
    queue_len=65536,
    momentum=0.999,
    loss_lambda=0.5,
    shuffle_bn=True,
    backbone=dict(
        type='ResNet',
        depth=50,
        norm_cfg=dict(type='BN'),
        zero_init_residual=False,
        # as released: fan-in, where mmpretrain's default is fan-out
        init_cfg=[
            dict(type='Kaiming', layer='Conv2d', mode='fan_in', nonlinearity='relu'),
            dict(type='Constant', layer=['_BatchNorm', 'GroupNorm'], val=1),
        ],
    ),
    projector=dict(
        type='DenseProjector',
        in_channels=None,
        hidden_channels=2048,
        out_channels=128,
        num_grid=None,
    ),
    correspondence=dict(type='SimilarityCorrespondence'),
    head=dict(type='QueueContrastHead', temperature=0.2),
)
