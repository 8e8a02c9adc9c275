# FCN R50-d8 with auxiliary head, VOC12 aug, 512 x 512 crops, 20k iterations
# of 16 images; DenseCL's recipe.
_base_ = ['mmseg::fcn/fcn_r50-d8_4xb4-20k_voc12aug-512x512.py']
custom_imports = dict(imports=['dense_ssl.finetune'], allow_failed_imports=False)

# Base: `SyncBN`. mmengine synchronises where processes are several.
norm_cfg = dict(type='BN', requires_grad=True)
sync_bn = 'torch'
model = dict(
    pretrained=None,  # base: downloads supervised weights
    # Base: `ResNetV1c`, whose deep stem no pre-trained ResNet-50 fills.
    backbone=dict(type='ResNet', norm_cfg=norm_cfg),
    decode_head=dict(align_corners=True, norm_cfg=norm_cfg),
    auxiliary_head=dict(align_corners=True, norm_cfg=norm_cfg),
)


default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
auto_scale_lr = dict(enable=False, base_batch_size=16)
