_base_ = './densecl_r50.py'
model = dict(
    # 64 batches old at most: 65536 keys would be a dozen epochs of 5 000 images.
    queue_len=4096,
    # 0.999 follows in thousands of steps, which is most of a short run.
    momentum=0.99,
    # Stride 16: small views have no more than 2x2 or 3x3 cells at stride 32.
    backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    projector=dict(hidden_channels=512),
)
