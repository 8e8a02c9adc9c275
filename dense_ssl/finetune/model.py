"""Building the model of a downstream config."""

import copy

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn


def build_model(cfg: Config) -> nn.Module:
    """The model of a mmdet, mmseg or mmpretrain config, on CPU, not initialised."""
    scope = cfg.get('default_scope', 'mmengine')
    if scope in ('mmdet', 'mmseg'):
        from dense_ssl.compat import require

        require(scope)
    init_default_scope(scope)
    return MODELS.build(copy.deepcopy(cfg.model))
