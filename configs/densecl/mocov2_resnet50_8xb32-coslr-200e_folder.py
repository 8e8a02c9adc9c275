_base_ = 'densecl_resnet50_8xb32-coslr-200e_folder.py'
model = dict(loss_lambda=0.0, projector=dict(with_dense=False))
