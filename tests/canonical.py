"""Inputs and weights of the parity fixtures, by their README's recipe."""

import zlib

import numpy as np
import torch


def rng(name: str) -> np.random.Generator:
    """Generator of a canonical name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def normal(name: str, shape) -> torch.Tensor:
    """Standard normal numbers of a canonical name, float64."""
    return torch.from_numpy(rng(name).standard_normal(tuple(shape)))


def unit(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Unit vectors along ``dim``, without an epsilon."""
    return x / x.square().sum(dim, keepdim=True).sqrt()


def fill(module: torch.nn.Module, prefix: str, rename=lambda name: name):
    """Give every parameter the numbers of its canonical name.

    ``rename`` turns a parameter's name into the canonical one; norm layers
    are recognised by their module.
    """
    norms = {
        f'{n}.{p}' if n else p
        for n, m in module.named_modules()
        if isinstance(m, torch.nn.modules.batchnorm._NormBase)
        for p, _ in m.named_parameters(recurse=False)
    }
    with torch.no_grad():
        for name, p in module.named_parameters():
            canonical = prefix + rename(name)
            values = normal(canonical, p.shape)
            if p.dim() > 1:
                fan_in = int(np.prod(p.shape[1:]))
                p.copy_(values * np.sqrt(2 / fan_in))
            elif name in norms and name.endswith('weight'):
                p.copy_(1 + 0.1 * values)
            else:
                p.copy_(0.1 * values)
    return module
