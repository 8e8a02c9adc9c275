# MoCo v2 is DenseCL without its dense branch.
_base_ = 'densecl_resnet50_1xb64-coslr-20k_small.py'
model = dict(loss_lambda=0.0, projector=dict(with_dense=False))
