# FCN-d6 R50-d16, Cityscapes, 769 x 769 crops, 90k iterations of 16 images;
# MoCo's recipe.
_base_ = ['mmseg::fcn/fcn-d6_r50-d16_4xb2-40k_cityscapes-769x769.py']
custom_imports = dict(imports=['dense_ssl.finetune'], allow_failed_imports=False)

# Base: `SyncBN`. mmengine synchronises where processes are several.
norm_cfg = dict(type='BN', requires_grad=True)
sync_bn = 'torch'
model = dict(
    pretrained=None,  # base: downloads supervised weights
    # Base: `ResNetV1c`, whose deep stem no pre-trained ResNet-50 fills.
    backbone=dict(type='ResNet', norm_cfg=norm_cfg),
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

train_dataloader = dict(batch_size=4)  # base: 2
optim_wrapper = dict(optimizer=dict(lr=0.01, weight_decay=1e-4))  # base: 0.01, 5e-4
param_scheduler = [  # base: polynomial decay
    dict(
        type='MultiStepLR', begin=0, end=90000, by_epoch=False, milestones=[63000, 81000], gamma=0.1
    )
]
train_cfg = dict(max_iters=90000, val_interval=90000)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
auto_scale_lr = dict(enable=False, base_batch_size=16)
