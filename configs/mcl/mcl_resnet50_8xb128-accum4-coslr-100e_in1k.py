# 4096 images an optimiser step on 8 GPUs. Cells are told from the 1024 images
# of an iteration, not from 4096.
_base_ = 'mcl_resnet50_32xb128-coslr-100e_in1k.py'
optim_wrapper = dict(accumulative_counts=4)
auto_scale_lr = dict(base_batch_size=1024)  # of an iteration
