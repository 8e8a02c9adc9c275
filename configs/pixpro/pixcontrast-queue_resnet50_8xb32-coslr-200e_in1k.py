# DenseCL on PixPro's views: a cell's partner is the nearest by geometry, the
# negatives come from the queues.
_base_ = [
    '../_base_/models/densecl_r50.py',
    '../_base_/datasets/imagenet_byol.py',
    '../_base_/schedules/sgd_coslr_200e.py',
    '../_base_/default_runtime.py',
]
model = dict(correspondence=dict(_delete_=True, type='GeometricCorrespondence', radius=0.7))
train_dataloader = dict(batch_size=32)
