norm_cfg = dict(type='BN')
model = dict(
    type='dense_ssl.MCL',
    # 'exact' computes all that the released code computes: same method, its
    # batch-norm statistics, three to four times the work
    mode='selected',
    # level 0: the images, read on P5; then montages of 2x2 (P4), 4x4 (P3)
    # and 8x8 (P2) cells
    ratios=(1, 2, 4, 8),
    shares=(1, 1 / 4, 1 / 16, 1 / 32),
    fpn_levels=(3, 2, 1, 0),
    momentum=0.99,
    end_momentum=1.0,
    backbone=dict(type='ResNet', depth=50, out_indices=(0, 1, 2, 3), norm_cfg=norm_cfg),
    neck=dict(type='FPN', in_channels=None, out_channels=256, norm_cfg=norm_cfg),
    region_head=dict(
        type='RegionHead',
        in_channels=None,
        num_convs=4,
        hidden_channels=2048,
        out_channels=256,
        norm_cfg=norm_cfg,
    ),
    predictor=dict(
        type='NonLinearNeck',
        in_channels=None,
        hid_channels=2048,
        out_channels=256,
        with_bias=True,
        with_last_bias=True,
        with_last_bn=False,
        with_avg_pool=False,
        norm_cfg=dict(type='BN1d'),
    ),
    head=dict(type='MultiLevelContrastHead', weights=(1 / 2, 1 / 4, 1 / 8, 1 / 8), temperature=1.0),
)
# Batch norm over all processes
sync_bn = 'torch'
