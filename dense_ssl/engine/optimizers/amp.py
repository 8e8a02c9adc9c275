"""Mixed precision as a recipe states it, wherever the recipe is run."""

from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from dense_ssl.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module(name='AmpOptimWrapper')
def amp_optim_wrapper(
    loss_scale='dynamic', dtype=None, use_fsdp: bool = False, **kwargs
) -> OptimWrapper:
    """mmengine's AmpOptimWrapper, which ends with an assertion on a CPU.

    There, bfloat16 is carried out as asked; float16, which CPUs do not
    compute with, becomes float32, so that its recipes can be tried.

    Args:
        loss_scale, dtype, use_fsdp, **kwargs: As mmengine's AmpOptimWrapper.
    """
    if (
        torch.accelerator.is_available()
        if hasattr(torch, 'accelerator')
        else torch.cuda.is_available()
    ):
        return AmpOptimWrapper(loss_scale=loss_scale, dtype=dtype, use_fsdp=use_fsdp, **kwargs)
    if dtype in ('bfloat16', torch.bfloat16):
        return CPUBFloat16OptimWrapper(**kwargs)
    print_log(
        'the recipe asks for mixed precision in float16; without an accelerator it runs in float32',
        logger='current',
    )
    return OptimWrapper(**kwargs)


class CPUBFloat16OptimWrapper(OptimWrapper):
    """Forward passes under torch's bfloat16 autocast of the CPU.

    bfloat16 has float32's range: gradients need no scaling.
    """

    @contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
