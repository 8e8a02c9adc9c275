# Faster R-CNN R101-C4, VOC 07+12 (DenseCL).
_base_ = ['./faster-rcnn_r50-c4_24k_voc0712.py']
model = dict(backbone=dict(depth=101))  # res5 is the same in both
