# RetinaNet as pixpro-fpn-head pre-trains it: P6 from P5, norms in the towers.
_base_ = './retinanet_r50_fpn_1x_coco.py'
model = dict(
    neck=dict(add_extra_convs='on_output', relu_before_extra_convs=True),
    bbox_head=dict(norm_cfg=_base_.norm_cfg),
)
