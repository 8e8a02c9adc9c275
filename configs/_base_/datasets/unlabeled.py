# What all pre-training data share; a recipe (views_*.py) adds the pipeline, a
# preset (imagenet_*.py, coco_*.py, folder_*.py) the folder.

# Views stay uint8 RGB until they are on the device.
data_preprocessor = dict(
    type='DenseDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
)

train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    drop_last=True,
    # New workers every epoch: a resumed run then draws the same numbers.
    persistent_workers=False,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='collate_views'),
    worker_init_fn=dict(type='worker_init'),
    dataset=dict(type='UnlabeledImages', data_root=None, pipeline=[]),
)
