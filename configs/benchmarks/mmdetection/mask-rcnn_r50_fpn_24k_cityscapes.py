# Mask R-CNN R50-FPN, Cityscapes instances, 24k iterations of 8 images.
_base_ = [
    '../_base_/mask-rcnn_r50_fpn_bn.py',
    'mmdet::_base_/datasets/cityscapes_instance.py',
    '../_base_/detection_90k.py',
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=8), mask_head=dict(num_classes=8)))

# Short side 800 to 1024, long side 2048 at most, as in the base; without the
# base's repetition of the data, which iterations do not need.
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='RandomChoiceResize',
        scales=[(2048, short) for short in range(800, 1025, 32)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        _delete_=True,
        type='CityscapesDataset',
        data_root=_base_.data_root,
        ann_file='annotations/instancesonly_filtered_gtFine_train.json',
        data_prefix=dict(img='leftImg8bit/train/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
# COCO's rule, and Cityscapes' own where cityscapesscripts is installed: the
# benchmark tools leave it out elsewhere.
val_evaluator = [
    _base_.val_evaluator[0],
    # Base: a fixed folder, which runs side by side would empty for each other.
    dict(_base_.val_evaluator[1], outfile_prefix=None),
]
test_evaluator = val_evaluator

train_cfg = dict(max_iters=24000, val_interval=6000)  # base: 90k
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(  # base: steps at 60k and 80k
        type='MultiStepLR', begin=0, end=24000, by_epoch=False, milestones=[18000], gamma=0.1
    ),
]
optim_wrapper = dict(optimizer=dict(lr=0.01))  # base: 0.02, for 16 images
auto_scale_lr = dict(enable=False, base_batch_size=8)
