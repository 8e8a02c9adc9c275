# The paper has no recipe for COCO: its learning rate by the linear rule
_base_ = [
    '../_base_/models/mcl_r50.py',
    '../_base_/datasets/coco_mcl.py',
    '../_base_/schedules/mcl_lars_coslr_100e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=4.0))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=800,
        eta_min=1e-4,
        by_epoch=True,
        begin=0,
        end=800,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=800)
auto_scale_lr = dict(base_batch_size=1024)
