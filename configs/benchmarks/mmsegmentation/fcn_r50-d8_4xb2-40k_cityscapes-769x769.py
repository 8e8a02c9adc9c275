# FCN R50-d8 with auxiliary head, Cityscapes, 769 x 769 crops, 40k iterations
# of 8 images; DenseCL's recipe: SGD 0.01 with poly decay, weight decay 5e-4,
# aligned corners, slide test, as in mmseg's base.
_base_ = ['mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-769x769.py']
custom_imports = dict(imports=['dense_ssl.finetune'], allow_failed_imports=False)

# Base: `SyncBN`. Written like this mmengine synchronises where processes are
# several, and one process on CPU works as well.
norm_cfg = dict(type='BN', requires_grad=True)
sync_bn = 'torch'
model = dict(
    pretrained=None,  # base: downloads supervised weights
    backbone=dict(
        # Base: `ResNetV1c`, whose deep stem no pre-trained ResNet-50 fills.
        type='ResNet',
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(norm_cfg=norm_cfg),
    auxiliary_head=dict(norm_cfg=norm_cfg),
)

default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
auto_scale_lr = dict(enable=False, base_batch_size=8)
