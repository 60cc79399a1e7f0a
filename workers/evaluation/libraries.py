"""Libraries of the extra `evaluate`, imported where they are used: the command's help needs none of them."""

import importlib
from types import ModuleType

from service.contracts.errors import ConfigError


def optional(name: str) -> ModuleType:
    """Import a module of a library of the extra `evaluate`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        library = name.partition(".")[0]
        raise ConfigError(f"aigq evaluate needs {library} ({error}): pip install 'aigq[evaluate]'") from error
