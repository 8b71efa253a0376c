"""Settings of processes: tables of a home's config.toml into frozen dataclasses, refusing what nobody reads."""

from __future__ import annotations

import tomllib
import types
import typing
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

from althing.protocol.errors import AlthingError

__all__ = ["SettingsError", "read_settings", "table_of"]

T = TypeVar("T")


class SettingsError(AlthingError):
    """A settings file cannot be read, or says what is not understood: `settings.*`."""


def read_settings(path: Path) -> dict[str, Any]:
    """All tables of a TOML file; none when there is no file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("settings.form", f"{path} is not TOML: {error}") from error
    except OSError as error:
        raise SettingsError("settings.unreadable", f"{path} cannot be read: {error.strerror}") from error


def table_of(cls: type[T], table: dict[str, Any], name: str) -> T:
    """A frozen dataclass of plain fields (bool, int, float, str, Path, tuple of str, nested ones) from a table."""
    hints = typing.get_type_hints(cls)
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]  # any dataclass
    unknown = sorted(table.keys() - known.keys())
    if unknown:
        raise SettingsError(
            "settings.unknown", f"[{name}] has no setting {unknown[0]!r}", hint=f"known: {', '.join(sorted(known))}"
        )
    needed = [key for key, own in known.items() if own.default is MISSING and own.default_factory is MISSING]
    missing = [key for key in needed if key not in table]
    if missing:
        raise SettingsError("settings.missing", f"[{name}] needs {missing[0]!r}")
    values = {key: _value(hints[key], value, f"{name}.{key}") for key, value in table.items()}
    try:
        return cls(**values)
    except (AssertionError, ValueError) as error:
        raise SettingsError("settings.range", f"[{name}] {error}") from error


def _value(kind: Any, value: Any, name: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        kind = next(member for member in typing.get_args(kind) if member is not type(None))
        origin = typing.get_origin(kind)
    if origin is tuple:
        if type(value) is list and all(type(item) is str for item in value):
            return tuple(value)
    elif kind is float:
        if type(value) in (int, float):
            return float(value)
    elif kind is Path:
        if type(value) is str:
            return Path(value)
    elif kind in (bool, int, str):
        if type(value) is kind:
            return value
    elif type(value) is dict:
        return table_of(kind, value, name)
    raise SettingsError("settings.type", f"{name} is not of the right type: {value!r}")
