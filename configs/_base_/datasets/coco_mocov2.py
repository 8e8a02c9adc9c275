# COCO train2017 without its labels.
_base_ = './views_mocov2.py'

data_root = 'data/coco/train2017'
train_dataloader = dict(dataset=dict(data_root=data_root))
