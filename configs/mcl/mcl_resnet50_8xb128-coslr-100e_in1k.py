# 1024 images a step: the paper's learning rate by the linear rule.
_base_ = 'mcl_resnet50_32xb128-coslr-100e_in1k.py'
optim_wrapper = dict(optimizer=dict(lr=4.0))
auto_scale_lr = dict(base_batch_size=1024)
