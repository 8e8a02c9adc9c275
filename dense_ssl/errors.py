class TransferError(ValueError):
    """A checkpoint cannot be transferred as asked; nothing was written."""
