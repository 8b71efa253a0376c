"""What goes wrong around a contract.

ContractError                contract.*   source or code is not acceptable; nothing ran
├── LanguageError            contract.syntax, contract.language, contract.name, contract.type: at a line and column
└── CodeError                contract.code: IR that no compiler makes
Raised                       an error inside a run that the contract may catch
Halt                         the end of a run that nothing catches: gas, memory, depth
"""

from __future__ import annotations

from typing import Final

from althing.protocol.errors import AlthingError

__all__ = ["BUILTIN_ERRORS", "CodeError", "ContractError", "Halt", "LanguageError", "Raised"]

BUILTIN_ERRORS: Final = (
    "Exception",
    "AssertionError",
    "ValueError",
    "TypeError",
    "KeyError",
    "IndexError",
    "ZeroDivisionError",
    "OverflowError",
    "CallError",
    "Refused",
)
"""By number. A contract's own errors follow at 16. The first catches each of them."""


class ContractError(AlthingError):
    """Source or code is not acceptable."""

    http_status = 400


class LanguageError(ContractError):
    """Source outside the language. `line` and `column` count from 1; `instead` says what to write."""

    def __init__(self, code: str, message: str, line: int, column: int, *, instead: str = "") -> None:
        super().__init__(code, f"line {line}, column {column}: {message}", hint=instead)
        self.reason = message
        self.line = line
        self.column = column
        self.instead = instead


class CodeError(ContractError):
    """IR that is not well formed, or breaks a rule that execution relies on."""

    def __init__(self, message: str) -> None:
        super().__init__("contract.code", message, hint="Compile the source with the compiler of this version.")


class Raised(Exception):  # noqa: N818 -- named as the specification names it
    """An error that a contract raised, or that an operation raised in it; `kind` as in BUILTIN_ERRORS."""

    def __init__(self, kind: int, message: str = "") -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message


class Halt(Exception):  # noqa: N818 -- an outcome, not an error of the caller
    """The run is over, whatever the contract would catch. `code` is one of gas, memory, depth."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
