"""The guard that turns expected failures of a command into messages and exit codes. Loads nothing of the node."""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import typer

from althing.cli.output import fail
from althing.client.errors import ClientError
from althing.protocol.errors import AlthingError

__all__ = ["JsonOption", "guarded"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

_LOOK: Final = "check the path and its permissions"
_OF_FILES: Final = {
    errno.ENOENT: _LOOK,
    errno.EACCES: _LOOK,
    errno.EPERM: _LOOK,
    errno.EISDIR: _LOOK,
    errno.ENOTDIR: _LOOK,
    errno.EEXIST: _LOOK,
    errno.ENAMETOOLONG: _LOOK,
    errno.EROFS: "this file system is mounted read-only: choose another place, or mount it for writing",
    errno.ENOSPC: "make room, and try again",
    errno.EDQUOT: "make room, and try again",
}

C = TypeVar("C", bound=Callable[..., Any])


def guarded(command: C) -> C:
    """Expected failures of a command end it with their message, hint and exit code."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except AlthingError as error:
            fail(error, as_json=bool(kwargs.get("as_json")))
        except OSError as error:
            if error.errno not in _OF_FILES:
                raise
            where = "" if error.filename is None else f"{error.filename}: "
            hint = _OF_FILES[error.errno]
            fail(ClientError("cli.file", f"{where}{error.strerror}", hint=hint), as_json=bool(kwargs.get("as_json")))

    return run  # type: ignore[return-value]
