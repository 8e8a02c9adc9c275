# The 1x recipe with the weight decay of MCL and SoCo.
_base_ = ['./mask-rcnn_r50_fpn_1x_coco.py']
optim_wrapper = dict(optimizer=dict(weight_decay=2.5e-5))
