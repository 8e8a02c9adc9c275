"""Numbers of a config that mmengine and torch take without a word, and that make no sense."""

import math
import re
from typing import Callable

from mmengine.config import Config

from dense_ssl.config_tree import walk
from dense_ssl.errors import UserError

__all__ = ['check_values']

Check = tuple[str, str, Callable[[float], bool]]

_ABOVE_0 = 'above 0', lambda x: x > 0
_NOT_NEGATIVE = '0 or more', lambda x: x >= 0
_SHARE = '0 or more, and below 1', lambda x: 0 <= x < 1
_COUNT = 'a whole number from 1 on', lambda x: x >= 1 and x == int(x)
_COUNT_OR_0 = 'a whole number from 0 on', lambda x: x >= 0 and x == int(x)
_COUNT_OR_NONE = 'a whole number from 1 on, or -1', lambda x: x == -1 or x >= 1 and x == int(x)

#: Keys, as patterns, and what their numbers have to be. Our own parts check theirs themselves.
_CHECKS: list[Check] = [
    (r'optim_wrapper\.optimizer\.lr', *_NOT_NEGATIVE),
    (r'optim_wrapper\.optimizer\.momentum', *_SHARE),
    (r'optim_wrapper\.optimizer\.betas\.\d', *_SHARE),
    (r'optim_wrapper\.optimizer\.weight_decay', *_NOT_NEGATIVE),
    (r'optim_wrapper\.clip_grad\.(max_norm|clip_value)', *_ABOVE_0),
    (r'optim_wrapper\.accumulative_counts', *_COUNT),
    (r'optim_wrapper\.paramwise_cfg\.\w+_mult', *_NOT_NEGATIVE),
    # Parts of an epoch are right: they are converted to iterations.
    (r'param_scheduler\.\d+\.(T_max|step_size)', *_ABOVE_0),
    (r'param_scheduler\.\d+\.(eta_min|gamma|power|begin)', *_NOT_NEGATIVE),
    (r'train_cfg\.(max_epochs|max_iters|val_interval)', *_COUNT),
    (r'(train|val|test)_dataloader\.(batch_size|prefetch_factor)', *_COUNT),
    (r'(train|val|test)_dataloader\.num_workers', *_COUNT_OR_0),
    (r'default_hooks\.checkpoint\.(interval|max_keep_ckpts)', *_COUNT_OR_NONE),
    (r'default_hooks\.logger\.interval', *_COUNT),
    (r'auto_scale_lr\.base_batch_size', *_ABOVE_0),
    (r'save_every', *_COUNT),
]


def check_values(cfg: Config) -> None:
    """Look at the numbers of a config before anything is built.

    Raises:
        UserError: One makes no sense; names its key, and what it has to be.
    """
    for key, value in walk(cfg):
        wanted = next((c for c in _CHECKS if re.fullmatch(c[0], key)), None)
        if wanted is None or value is None:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and wanted[2](value)):
            raise UserError(f'{key}={value!r} makes no sense: it has to be {wanted[1]}')
    if cfg.get('disk_full', 'stop') not in ('stop', 'go on'):
        raise UserError(f"disk_full={cfg.disk_full!r} makes no sense: use 'stop' or 'go on'")
