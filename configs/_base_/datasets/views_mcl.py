# Eight views: four for each side, one for each level. All are cropped to the
# full size; montages take every 2nd, 4th or 8th pixel of theirs.
_base_ = './views_byol.py'

# Other sizes, multiples of 32: --cfg-options view_size=96
view_size = 224

crop = dict(type='RandomResizedCropWithBox', crop_ratio_range=(0.2, 1.0))

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadRGBImage'),
            dict(
                type='GeometricMultiView',
                view_size=view_size,
                num_views=[4, 4],
                transforms=[[crop, *_base_.view_pipeline1[1:]], [crop, *_base_.view_pipeline2[1:]]],
            ),
            dict(
                type='PackInputs',
                algorithm_keys=('view_boxes', 'view_colors'),
                meta_keys=('sample_idx', 'img_path', 'ori_shape'),
            ),
        ]
    )
)
