"""Settings of processes: tables of a home's config.toml, and the environment over them, into frozen dataclasses.

What nobody reads is refused with the nearest name that is read: a misspelt setting must not be a default in silence.
"""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from althing.protocol.errors import AlthingError

__all__ = ["SettingsError", "read_settings", "table_of", "with_environment"]

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
            "settings.unknown", f"[{name}] has no setting {unknown[0]!r}", hint=_near(unknown[0], known)
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


def with_environment(cls: type[T], table: dict[str, Any], prefix: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The table with every variable `<prefix>_<SETTING>` of the environment in place of the file's setting.

    A nested setting is `<prefix>_<TABLE>_<SETTING>`; a tuple's members stand between commas.
    """
    places = _places(cls, prefix, ())
    merged = _copy(table)
    for variable in sorted(environ):
        if not variable.startswith(prefix + "_"):
            continue
        if variable not in places:
            raise SettingsError(
                "settings.unknown", f"the variable {variable} is not a setting", hint=_near(variable, places)
            )
        kind, path = places[variable]
        inner = merged
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
            if type(inner) is not dict:
                raise SettingsError("settings.type", f"{part} is a table")
        inner[path[-1]] = _from_text(kind, environ[variable], variable)
    return merged


def _places(cls: Any, prefix: str, path: tuple[str, ...]) -> dict[str, tuple[Any, tuple[str, ...]]]:
    found: dict[str, tuple[Any, tuple[str, ...]]] = {}
    for key, kind in typing.get_type_hints(cls).items():
        if typing.get_origin(kind) in (types.UnionType, typing.Union):
            kind = next(member for member in typing.get_args(kind) if member is not type(None))
        if is_dataclass(kind):
            found |= _places(kind, f"{prefix}_{key.upper()}", (*path, key))
        else:
            found[f"{prefix}_{key.upper()}"] = (kind, (*path, key))
    return found


def _from_text(kind: Any, text: str, name: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind in (int, float):
            return kind(text)
    except (KeyError, ValueError):
        raise SettingsError("settings.type", f"{name} is not of the right type: {text!r}") from None
    if typing.get_origin(kind) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _copy(table: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if type(value) is dict else value for key, value in table.items()}


def _near(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"


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
