# ImageNet-1k: any tree of its training images.
_base_ = './views_mcl_direct.py'

data_root = 'data/imagenet/train'
train_dataloader = dict(dataset=dict(data_root=data_root))
