# For folders of any size: queues that are too long for it are shortened.
_base_ = './default_runtime.py'
custom_hooks = [
    dict(hook, if_longer='fit') if hook['type'] == 'QueueLengthHook' else hook
    for hook in _base_.custom_hooks
]
