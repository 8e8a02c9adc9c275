# MoCo v2 is DenseCL without its dense branch.
_base_ = 'densecl_resnet50_8xb32-coslr-200e_in1k.py'
model = dict(loss_lambda=0.0, projector=dict(with_dense=False))
