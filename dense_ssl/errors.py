"""Errors written for the user: a tool ends on their message, without a traceback."""

__all__ = ['MissingFile', 'TransferError', 'UserError']


class UserError(ValueError):
    """What was given cannot be used. The message says what, and what to do.

    Raised by every check of dense_ssl's own; any other error is a surprise and keeps its
    traceback.

    Args:
        message (str): For the user. torch hands an error of a loader's worker on as its own type
            made from the text of the worker's traceback; of that the message alone is kept.
    """

    def __init__(self, message: str = '') -> None:
        name = f'{type(self).__module__}.{type(self).__qualname__}: '
        super().__init__(str(message).rpartition(name)[2].rstrip('\n'))


class MissingFile(UserError, FileNotFoundError):
    """A file or folder that was named is not there."""


class TransferError(UserError):
    """Weights that do not fit, or a file that holds none."""
