"""Processes and the devices they run on, for all tools."""

import os

import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict

from dense_ssl.errors import UserError

__all__ = ['join_process_group', 'settle_processes']

# Processes on this machine, as each launcher tells them.
_LOCAL_SIZE = {'pytorch': 'LOCAL_WORLD_SIZE', 'mpi': 'OMPI_COMM_WORLD_LOCAL_SIZE'}


def settle_processes(cfg: Config) -> list[str]:
    """Settle backend and batch norm for the devices at hand, in place.

    With CUDA the config's choice stands (nccl by default). Without, several
    processes talk through gloo, and batch norm stays per process: torch's
    SyncBatchNorm refuses CPU tensors.

    Returns:
        What was changed, one line each, for the log.

    Raises:
        UserError: A launcher other than torchrun without CUDA, or more
            processes on this machine than it has GPUs.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        return []
    if torch.cuda.is_available():
        _check_gpus(launcher)
        return []
    if launcher != 'pytorch':
        raise UserError(
            f'--launcher {launcher} needs CUDA devices, and '
            'there is none. On CPU use tools/dist_train.sh.'
        )
    notes = ['No CUDA device: processes communicate through gloo.']
    cfg.setdefault('env_cfg', ConfigDict())
    cfg.env_cfg['dist_cfg'] = dict(backend='gloo')
    if cfg.get('sync_bn') is not None:
        cfg.sync_bn = None
        notes.append('No CUDA device: batch norm stays per process (plain BN), sync_bn is ignored.')
    # mmengine would hand DistributedDataParallel a CUDA device index.
    wrapper = ConfigDict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper.update(cfg.get('model_wrapper_cfg') or {})
    wrapper.device_ids = None
    cfg.model_wrapper_cfg = wrapper
    return notes


def join_process_group(cfg: Config) -> None:
    """On CPU, before mmengine does.

    mmengine's own start selects a CUDA device whatever the backend; it skips
    that where a process group exists.
    """
    if (
        cfg.get('launcher') == 'pytorch'
        and not torch.cuda.is_available()
        and not dist.is_initialized()
    ):
        dist.init_process_group(backend='gloo')


def _check_gpus(launcher: str) -> None:
    processes = int(os.environ.get(_LOCAL_SIZE.get(launcher, ''), 1))
    gpus = torch.cuda.device_count()
    if processes > max(gpus, 1):
        raise UserError(
            f'{processes} processes were started on this machine, which has '
            f'{gpus} visible GPU(s): each process needs its own. Start '
            f'{gpus}, or make more visible by CUDA_VISIBLE_DEVICES.'
        )
