# COCO's 123 403 images without any labels.
_base_ = './views_mocov2.py'

data_root = 'data/coco/unlabeled2017'
train_dataloader = dict(dataset=dict(data_root=data_root))
