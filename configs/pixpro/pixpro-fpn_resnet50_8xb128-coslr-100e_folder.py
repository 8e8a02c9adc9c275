# Your own images: --cfg-options data_root=DIR
_base_ = 'pixpro-fpn_resnet50_8xb128-coslr-100e_in1k.py'
data_root = 'data/images'
train_dataloader = dict(num_workers=4, dataset=dict(data_root=data_root))
