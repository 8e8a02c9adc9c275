# Saves by steps: an epoch of a few images is nothing, one of 100 000 is hours.
_base_ = './default_runtime.py'
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=1000))
