"""Move the colour part of a recipe from the workers to the device."""

import torch
from mmengine.config import Config

from dense_ssl.config_tree import dicts, type_name
from dense_ssl.errors import UserError

__all__ = ['leave_colors_to_device', 'place_colors']


def place_colors(cfg: Config) -> None:
    """Decide where the views of a recipe get their colors changed, in place.

    As ``speed.colors`` says, 'device' or 'workers'; by default on the device
    if that is a GPU and the data preprocessor can do it.

    Raises:
        UserError: Another word, or a data preprocessor that cannot.
    """
    where = (cfg.get('speed') or {}).get('colors')
    if where not in (None, 'device', 'workers'):
        raise UserError(f"speed.colors={where!r}: use 'device' or 'workers'")
    preprocessor = (cfg.get('model') or {}).get('data_preprocessor') or (
        cfg.get('data_preprocessor') or {}
    )
    able = type_name(preprocessor).endswith('DenseDataPreprocessor')
    if where == 'device' and not able:
        raise UserError(
            '--color device (speed.colors) needs data_preprocessor.type='
            "'DenseDataPreprocessor', which applies the colors."
        )
    if where is None and able and torch.cuda.is_available():
        where = 'device'
    if where is not None:
        leave_colors_to_device(cfg, where == 'device')


def leave_colors_to_device(cfg: Config, on_device: bool = True) -> int:
    """Let every RandomColor of the training data only draw, in place.

    The data preprocessor then changes the colours of whole batches on the
    training device: same operations, same draws.

    Args:
        cfg (Config): A pre-training config.
        on_device (bool): False moves them back to the workers.

    Returns:
        int: How many RandomColor there are.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    steps = [step for step in dicts(dataset) if 'type' in step]
    colours = [s for s in steps if type_name(s).endswith(('RandomColor', 'RandomColour'))]
    for step in colours:
        step['on_device'] = on_device
    for step in steps:
        keys = tuple(step.get('algorithm_keys', ()))
        packed = {'view_colors', 'view_colours'}.intersection(keys)  # the old name will do
        if colours and type_name(step).endswith('PackInputs') and not packed:
            step['algorithm_keys'] = (*keys, 'view_colors')
    return len(colours)
