# Your own folder, list or pack of images: --data.
_base_ = './views_byol.py'

data_root = 'data/images'
train_dataloader = dict(batch_size=64, dataset=dict(data_root=data_root))
