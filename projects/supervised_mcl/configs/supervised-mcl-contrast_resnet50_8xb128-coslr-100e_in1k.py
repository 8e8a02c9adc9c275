# Positives: all images of a cell's class
_base_ = '../../../configs/mcl/mcl_resnet50_8xb128-coslr-100e_in1k.py'
custom_imports = dict(
    imports=['dense_ssl', 'projects.supervised_mcl.supervised_mcl'], allow_failed_imports=False
)

# One folder for each class; another one: --cfg-options data_root=DIR
data_root = 'data/imagenet/train'
model = dict(type='SupervisedMCL', head=dict(type='SameClassContrastHead', temperature=0.2))
train_dataloader = dict(num_workers=8, dataset=dict(type='CustomDataset', data_root=data_root))
