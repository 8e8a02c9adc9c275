# As views_mcl.py, but each level's view is cropped to the size of its cell:
# a third of the pixels to make and move. The crop's resize filters (no
# aliasing, where taking every 8th pixel has plenty), and blur keeps its
# radius in relation to the view.
_base_ = './views_mcl.py'

view_size = 224  # a multiple of 32
ratios = (1, 2, 4, 8)

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadRGBImage'),
            dict(
                type='GeometricMultiView',
                view_size=view_size,
                num_views=[1] * 8,
                transforms=[
                    [
                        dict(scale=view_size // ratio, **_base_.crop),
                        _base_.flip,
                        dict(color, blur_sigma=(0.1 / ratio, 2.0 / ratio)),
                    ]
                    for color in (_base_.view_pipeline1[-1], _base_.view_pipeline2[-1])
                    for ratio in ratios
                ],
            ),
            dict(
                type='PackInputs',
                algorithm_keys=('view_boxes', 'view_colors'),
                meta_keys=('sample_idx', 'img_path', 'ori_shape'),
            ),
        ]
    )
)
