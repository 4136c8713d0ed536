"""Every error that tiltz raises on purpose.

::

    TiltzError
    ├── InputError (ValueError)       an argument, an array or a table that cannot be used
    │   ├── FileError                 a file that cannot be read or written as asked
    │   ├── LayoutError               a readable file whose columns do not say what is needed
    │   └── OverlapError              sampled states that have too little in common to be compared
    └── MissingExtraError (ImportError)   an optional dependency that is not installed

A message is one paragraph: what must hold, what was found and where, what to do.
"""


class TiltzError(Exception):
    """Base of all errors that tiltz raises on purpose."""


class InputError(TiltzError, ValueError):
    """An argument, an array or a table cannot be used as given."""


class FileError(InputError):
    """A file cannot be read or written as asked."""


class LayoutError(InputError):
    """A file is readable, but its columns do not say what is needed."""


class OverlapError(InputError):
    """Sampled states have too little in common to be compared."""


class MissingExtraError(TiltzError, ImportError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Install it with:  pip install 'tiltz[{extra}]'"
        )
