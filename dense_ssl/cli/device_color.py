"""Move the colour part of a recipe from the workers to the device."""

from mmengine.config import Config

__all__ = ['leave_colours_to_device']


def _steps(node):
    """All dicts with a type below ``node``."""
    if isinstance(node, dict):
        if 'type' in node:
            yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _steps(child)


def leave_colours_to_device(cfg: Config, on_device: bool = True) -> int:
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
    steps = list(_steps(dataset))
    colours = [s for s in steps if s['type'].endswith(('RandomColor', 'RandomColour'))]
    for step in colours:
        step['on_device'] = on_device
    for step in steps:
        keys = tuple(step.get('algorithm_keys', ()))
        packed = {'view_colors', 'view_colours'}.intersection(keys)  # the old name will do
        if colours and step['type'].endswith('PackInputs') and not packed:
            step['algorithm_keys'] = (*keys, 'view_colors')
    return len(colours)
