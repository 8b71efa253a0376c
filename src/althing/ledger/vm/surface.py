"""What contracts may call: functions, methods of values, functions of the host. Numbers are part of the code's format.

Each row is (name, least arguments, most arguments); its place in the table is its number. Tables only grow.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BUILTINS", "HOST", "METHODS", "NO_LIMIT"]

NO_LIMIT: Final = 255

BUILTINS: Final = (
    ("len", 1, 1),
    ("abs", 1, 1),
    ("min", 1, NO_LIMIT),
    ("max", 1, NO_LIMIT),
    ("sum", 1, 2),
    ("sorted", 1, 2),
    ("reversed", 1, 1),
    ("any", 1, 1),
    ("all", 1, 1),
    ("enumerate", 1, 2),
    ("zip", 2, 4),
    ("str", 1, 1),
    ("int", 1, 1),
    ("bool", 1, 1),
    ("bytes", 1, 1),
    ("list", 0, 1),
    ("tuple", 0, 1),
    ("dict", 0, 1),
    ("divmod", 2, 2),
    ("round", 1, 2),
    ("Decimal", 1, 1),
)

METHODS: Final = (
    # str
    ("upper", 0, 0),
    ("lower", 0, 0),
    ("strip", 0, 0),
    ("split", 0, 1),
    ("join", 1, 1),
    ("startswith", 1, 1),
    ("endswith", 1, 1),
    ("find", 1, 1),
    ("replace", 2, 2),
    ("isdigit", 0, 0),
    ("encode", 0, 0),
    # bytes
    ("hex", 0, 0),
    ("decode", 0, 0),
    # list
    ("append", 1, 1),
    ("extend", 1, 1),
    ("insert", 2, 2),
    ("pop", 0, 2),
    ("remove", 1, 1),
    ("index", 1, 1),
    ("count", 1, 1),
    ("reverse", 0, 0),
    ("sort", 0, 0),
    ("copy", 0, 0),
    ("clear", 0, 0),
    # dict
    ("get", 1, 2),
    ("keys", 0, 0),
    ("values", 0, 0),
    ("items", 0, 0),
    ("setdefault", 2, 2),
    ("update", 1, 1),
)

HOST: Final = (
    ("caller", 0, 0),
    ("origin", 0, 0),
    ("this", 0, 0),
    ("now", 0, 0),
    ("height", 0, 0),
    ("organisation", 0, 1),
    ("role", 1, 2),
    ("sha256", 1, 1),
    ("verify", 3, 3),
    ("balance", 2, 2),
    ("transfer", 3, 3),
    ("escrow", 4, 4),
    ("device", 1, 1),
    ("stream", 1, 1),
    ("reading", 1, 1),
)
