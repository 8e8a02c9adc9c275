# FCN-d6 R50-d16, VOC12 aug, 513 x 513 crops, 30k iterations of 16 images;
# MoCo's recipe.
_base_ = ['mmseg::fcn/fcn_r50-d8_4xb4-20k_voc12aug-512x512.py']
custom_imports = dict(imports=['dense_ssl.finetune'], allow_failed_imports=False)

# Base: `SyncBN`. mmengine synchronises where processes are several.
norm_cfg = dict(type='BN', requires_grad=True)
sync_bn = 'torch'
model = dict(
    data_preprocessor=dict(size=(513, 513)),
    pretrained=None,  # base: downloads supervised weights
    # Base: `ResNetV1c`, whose deep stem no pre-trained ResNet-50 fills.
    backbone=dict(
        type='ResNet',
        strides=(1, 2, 2, 1),  # base: 1, 2, 1, 1
        dilations=(1, 1, 1, 2),  # base: 1, 1, 2, 4
        norm_cfg=norm_cfg,
    ),
    # MoCo's head: two 3x3 convolutions of 256 channels, dilation 6.
    decode_head=dict(
        channels=256,  # base: 512
        concat_input=False,  # base: joined with the input again
        dropout_ratio=0.0,  # base: 0.1
        dilation=6,
        norm_cfg=norm_cfg,
    ),
    auxiliary_head=None,
)

crop_size = (513, 513)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(2049, 513), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2049, 513), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(_base_.dataset_train, pipeline=train_pipeline),
            dict(_base_.dataset_aug, pipeline=train_pipeline),
        ]
    )
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=0.003, weight_decay=1e-4))  # base: 0.01, 5e-4
param_scheduler = [  # base: polynomial decay
    dict(
        type='MultiStepLR', begin=0, end=30000, by_epoch=False, milestones=[21000, 27000], gamma=0.1
    )
]
train_cfg = dict(max_iters=30000, val_interval=30000)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
auto_scale_lr = dict(enable=False, base_batch_size=16)
