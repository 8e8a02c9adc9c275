# Linear evaluation on ImageNet: the backbone is frozen, one linear layer is
# trained, 100 epochs of 256 images.
_base_ = ['mmpretrain::mocov2/benchmarks/resnet50_8xb32-linear-steplr-100e_in1k.py']
custom_imports = dict(imports=['dense_ssl.finetune'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        norm_eval=True,  # base: left to the stages' freezing
        init_cfg=None,
    )
)  # base: a checkpoint to be filled in
# mmpretrain's own tool adds this; ours leaves loaders as they are written.
train_dataloader = dict(collate_fn=dict(type='default_collate'))
val_dataloader = dict(collate_fn=dict(type='default_collate'))
test_dataloader = val_dataloader
auto_scale_lr = dict(base_batch_size=256)
