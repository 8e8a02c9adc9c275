# Faster R-CNN R50-C4 as the papers have it; mmdet's base is Caffe's network.
_base_ = ['mmdet::_base_/models/faster-rcnn_r50-caffe-c4.py']
norm_cfg = dict(type='BN', requires_grad=True)  # base: not trained
model = dict(
    data_preprocessor=dict(  # base: BGR, standard deviation 1
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        style='pytorch',  # base: caffe, stride in the first 1x1 convolution
        frozen_stages=-1,  # base: 1
        norm_eval=False,  # base: True
        norm_cfg=norm_cfg,
        init_cfg=None,
    ),  # base: downloads supervised weights
    # Anchors that cross the image's border are trained on, as in the base.
    train_cfg=dict(rpn=dict(allowed_border=-1)),
    roi_head=dict(
        shared_head=dict(
            # Base: ResLayer. MoCo's setting adds a norm after res5, which
            # stands in for the missing neck's.
            type='dense_ssl.finetune.mmdet_parts.ResLayerExtraNorm',
            style='pytorch',
            norm_eval=False,
            norm_cfg=norm_cfg,
            init_cfg=None,
        )
    ),
)
