# Two views as BYOL and PixPro make them: the first always blurred, the second
# rarely, but at times solarised; flip right after the crop.
_base_ = './unlabelled.py'

# Other sizes: --cfg-options view_size=96
view_size = 224

crop = dict(type='RandomResizedCropWithBox', crop_ratio_range=(0.08, 1.0))
flip = dict(type='RandomFlipWithBox', prob=0.5)
colour = dict(
    type='RandomColour',
    brightness=0.4,
    contrast=0.4,
    saturation=0.2,
    hue=0.1,
    jitter_prob=0.8,
    grey_prob=0.2,
    blur_sigma=(0.1, 2.0),
    solarise_threshold=128,
)
view_pipeline1 = [crop, flip, dict(blur_prob=1.0, solarise_prob=0.0, **colour)]
view_pipeline2 = [crop, flip, dict(blur_prob=0.1, solarise_prob=0.2, **colour)]

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
                algorithm_keys=('view_boxes', 'view_colours'),
                meta_keys=('sample_idx', 'img_path', 'ori_shape'),
            ),
        ]
    )
)
