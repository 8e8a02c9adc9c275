# Each cell is classified. For another data set:
# --cfg-options data_root=DIR model.head.num_classes=N
_base_ = '../../../configs/mcl/mcl_resnet50_8xb128-coslr-100e_in1k.py'
custom_imports = dict(
    imports=['dense_ssl', 'projects.supervised_mcl.supervised_mcl'], allow_failed_imports=False
)

data_root = 'data/imagenet/train'
model = dict(
    _delete_=True,
    type='CellClassifier',
    ratios=_base_.model.ratios,
    shares=_base_.model.shares,
    fpn_levels=_base_.model.fpn_levels,
    backbone=_base_.model.backbone,
    neck=_base_.model.neck,
    region_head=_base_.model.region_head,
    head=dict(type='CellClassificationHead', num_classes=1000),
)

pipeline = _base_.train_dataloader.dataset.pipeline
# One side: a view for each level, of the kind that is rarely blurred
pipeline[1].update(num_views=[4], transforms=pipeline[1]['transforms'][1:])
train_dataloader = dict(
    num_workers=8, dataset=dict(type='CustomDataset', data_root=data_root, pipeline=pipeline)
)
