"""The error tree. Catch the narrowest class that you can handle.

AigqError
├── ConfigError          a settings file, key or environment variable is wrong
├── ArtefactError        a file or directory that we published or were given is missing, cut short or of another version
│   └── TooLittleData     a dataset is whole, but holds too little to learn this from
├── StoreError           Redis
│   ├── StoreUnavailable  no answer in time, or no connection
│   └── CorruptValue      a value that is not ours to use: broken, too long, another version or owner
├── RefreshFailed        an error that nobody foresaw, in the refresh of a shopper
└── GeneratorError       the vLLM server
    ├── GeneratorUnavailable  no answer in time, no connection, or a 5xx
    ├── PromptRefused         it answers others, but takes this prompt for wrong
    ├── NothingUsable         it answers a whole batch without a query that may be shown
    └── WrongModel            it answers, but not with the model that we expect
"""


class AigqError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigError(AigqError):
    """Settings are wrong; the message names the file, the key and what is allowed, never a secret's value."""


class ArtefactError(AigqError):
    """An artefact or dataset cannot be used; the message names the path and the fix."""


class TooLittleData(ArtefactError):
    """A dataset holds too little to learn what was asked for; the rest may do without."""


class StoreError(AigqError):
    """Base of what can go wrong with Redis."""


class StoreUnavailable(StoreError):
    """Redis did not answer in time."""


class CorruptValue(StoreError):
    """A stored value is broken, too long, of another schema version or another shopper's: a miss, to be counted."""

    def __init__(self, reason: str) -> None:
        """`reason` is one of `json`, `size`, `shape`, `version`, `owner`: a bounded metric label."""
        super().__init__(reason)
        self.reason = reason


class RefreshFailed(AigqError):
    """A shopper's refresh raised what nobody foresaw; the message is that error, whose traceback is in the log."""


class GeneratorError(AigqError):
    """Base of what can go wrong with the vLLM server."""


class GeneratorUnavailable(GeneratorError):
    """The vLLM server did not answer, or answered that it cannot."""


class PromptRefused(GeneratorError):
    """The vLLM server takes other prompts, but not this one."""


class NothingUsable(GeneratorError):
    """The vLLM server answered a whole batch, and no answer holds a query that may be shown."""


class WrongModel(GeneratorError):
    """The vLLM server does not serve the model that the settings name, or one that cannot write lists."""
