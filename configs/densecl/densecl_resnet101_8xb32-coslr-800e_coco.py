_base_ = 'densecl_resnet50_8xb32-coslr-800e_coco.py'
model = dict(backbone=dict(depth=101))
