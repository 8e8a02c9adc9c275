# Pascal VOC 2007 and 2012 trainval, evaluated on 2007 test.
_base_ = ['mmdet::_base_/datasets/voc0712.py']
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='LoadAnnotations', with_bbox=True),
    # Short side 480 to 800 (base: always 600).
    dict(
        type='RandomChoiceResize',
        scales=[(1333, short) for short in range(480, 801, 32)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),  # base: 600
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
# The objects marked difficult are trained on: detectron2 ignores the mark
# (base: left out).
train_set = dict(
    type='dense_ssl.finetune.mmdet_parts.VOCWithDifficult',
    data_root=_base_.data_root,
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    pipeline=train_pipeline,
)
train_dataloader = dict(
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        _delete_=True,  # base: three times the data an epoch
        type='ConcatDataset',
        ignore_keys=['dataset_type'],
        datasets=[
            dict(
                ann_file=f'VOC{year}/ImageSets/Main/trainval.txt',
                data_prefix=dict(sub_data_root=f'VOC{year}/'),
                **train_set,
            )
            for year in (2007, 2012)
        ],
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
# AP over IoU .5:.95, AP50 and AP75, by the 11-point rule (base: AP50 only).
val_evaluator = dict(_delete_=True, type='dense_ssl.finetune.VOCDetectionMetric')
test_evaluator = val_evaluator
