"""safetensors files: https://github.com/huggingface/safetensors."""

from torch import Tensor

from dense_ssl.errors import TransferError
from dense_ssl.files import write_atomically


def _library():
    try:
        import safetensors
        import safetensors.torch  # noqa: F401

        return safetensors
    except ImportError as error:
        raise TransferError(
            'safetensors files need the package safetensors: `pip install safetensors`.'
        ) from error


def read_safetensors(path: str) -> tuple[dict[str, Tensor], dict]:
    """Weights by name, and the file's metadata (strings by name)."""
    library = _library()
    try:
        with library.safe_open(path, framework='pt') as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}
            return weights, dict(file.metadata() or {})
    except (OSError, library.SafetensorError) as error:
        raise TransferError(f'{path} cannot be read: {error}') from error


def write_safetensors(weights: dict[str, Tensor], meta: dict[str, str], path: str) -> None:
    """Write tensors, and metadata: strings by name."""
    library = _library()
    data = library.torch.save(
        {key: value.contiguous() for key, value in weights.items()},
        {key: str(value) for key, value in meta.items()},
    )
    write_atomically(path, data)
