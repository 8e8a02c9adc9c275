# For a few thousand images and one GPU, or none: small views, plain SGD.
# --cfg-options data_root=DIR model.head.num_classes=N
_base_ = 'supervised-mcl-classify_resnet50_8xb128-coslr-100e_in1k.py'

data_root = 'data/images'
model = dict(backbone=dict(depth=18), head=dict(num_classes=10))
pipeline = _base_.pipeline
pipeline[1]['view_size'] = 96
train_dataloader = dict(
    batch_size=32, num_workers=2, dataset=dict(data_root=data_root, pipeline=pipeline)
)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        T_max=50,
        by_epoch=True,
        begin=0,
        end=50,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(max_epochs=50)
auto_scale_lr = dict(base_batch_size=32)
