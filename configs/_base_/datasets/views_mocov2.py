# Two views as MoCo v2 and DenseCL make them: both alike, flip last.
_base_ = './unlabeled.py'

# Other sizes: --cfg-options view_size=96
view_size = 224

view_pipeline = [
    dict(type='RandomResizedCropWithBox', crop_ratio_range=(0.2, 1.0)),
    dict(
        type='RandomColor',
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.1,
        jitter_prob=0.8,
        grayscale_prob=0.2,
        blur_prob=0.5,
        blur_sigma=(0.1, 2.0),
    ),
    dict(type='RandomFlipWithBox', prob=0.5),
]

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadRGBImage'),
            dict(
                type='GeometricMultiView',
                view_size=view_size,
                num_views=[2],
                transforms=[view_pipeline],
            ),
            dict(
                type='PackInputs',
                algorithm_keys=('view_boxes', 'view_colors'),
                meta_keys=('sample_idx', 'img_path', 'ori_shape'),
            ),
        ]
    )
)
