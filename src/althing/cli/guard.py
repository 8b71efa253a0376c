"""The guard that turns expected failures of a command into messages and exit codes. Loads nothing of the node."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from althing.cli.output import fail
from althing.client.errors import ClientError
from althing.protocol.errors import AlthingError

__all__ = ["JsonOption", "guarded"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

C = TypeVar("C", bound=Callable[..., Any])


def guarded(command: C) -> C:
    """Expected failures of a command end it with their message, hint and exit code."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except AlthingError as error:
            fail(error, as_json=bool(kwargs.get("as_json")))
        except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
            hint = "check the path and its permissions"
            failure = ClientError("cli.file", f"{error.filename}: {error.strerror}", hint=hint)
            fail(failure, as_json=bool(kwargs.get("as_json")))

    return run  # type: ignore[return-value]
