# COCO without its labels; 'data/coco/unlabeled2017' is the other usual choice.
_base_ = './views_mcl.py'

data_root = 'data/coco/train2017'
train_dataloader = dict(dataset=dict(data_root=data_root))
