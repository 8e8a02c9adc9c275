"""Mixed precision as a recipe states it, wherever the recipe is run."""
import torch
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from dense_ssl.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module(name='AmpOptimWrapper')
def amp_optim_wrapper(loss_scale='dynamic',
                      dtype=None,
                      use_fsdp: bool = False,
                      **kwargs) -> OptimWrapper:
    """mmengine's AmpOptimWrapper, or float32 where there is no accelerator.

    The original ends with an assertion on a CPU, so that no recipe with mixed
    precision could be tried there.

    Args:
        loss_scale, dtype, use_fsdp, **kwargs: As mmengine's AmpOptimWrapper.
    """
    if torch.accelerator.is_available() if hasattr(
            torch, 'accelerator') else torch.cuda.is_available():
        return AmpOptimWrapper(
            loss_scale=loss_scale, dtype=dtype, use_fsdp=use_fsdp, **kwargs)
    print_log(
        'the recipe asks for mixed precision; without an accelerator it '
        'runs in float32',
        logger='current')
    return OptimWrapper(**kwargs)
