"""The exceptions a user of this package can meet.

A message states the rule, what was found, and what to do. `assert` is reserved for our own mistakes.
"""


class HfrAmeError(ValueError):
    """Base of every error that a user's input can cause."""


class ConfigError(HfrAmeError):
    """A configuration value or key that the model can't use."""


class InputError(HfrAmeError):
    """Model or processor inputs that break the batch contract."""


class DataError(HfrAmeError):
    """A dataset, label or manifest that can't be used."""


class MediaError(HfrAmeError):
    """A media file that can't be decoded or holds nothing usable."""
