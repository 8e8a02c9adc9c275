# Two views as BYOL and PixPro make them: the first always blurred, the second
# rarely, but at times solarized; flip right after the crop.
_base_ = './unlabeled.py'

# Other sizes: --cfg-options view_size=96
view_size = 224

crop = dict(type='RandomResizedCropWithBox', crop_ratio_range=(0.08, 1.0))
flip = dict(type='RandomFlipWithBox', prob=0.5)
color = dict(
    type='RandomColor',
    brightness=0.4,
    contrast=0.4,
    saturation=0.2,
    hue=0.1,
    jitter_prob=0.8,
    grayscale_prob=0.2,
    blur_sigma=(0.1, 2.0),
    solarize_threshold=128,
)
view_pipeline1 = [crop, flip, dict(blur_prob=1.0, solarize_prob=0.0, **color)]
view_pipeline2 = [crop, flip, dict(blur_prob=0.1, solarize_prob=0.2, **color)]

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadRGBImage'),
            dict(
                type='GeometricMultiView',
                view_size=view_size,
                num_views=[1, 1],
                transforms=[view_pipeline1, view_pipeline2],
            ),
            dict(
                type='PackInputs',
                algorithm_keys=('view_boxes', 'view_colors'),
                meta_keys=('sample_idx', 'img_path', 'ori_shape'),
            ),
        ]
    )
)
