# Any folder of images, nested or flat: --cfg-options data_root=DIR
_base_ = './views_mcl_direct.py'

data_root = 'data/images'
train_dataloader = dict(num_workers=4, dataset=dict(data_root=data_root))
