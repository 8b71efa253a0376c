"""The C code of docs/spec/device-message.md makes the bytes of the vectors."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


class _Message(ctypes.Structure):
    _fields_ = (
        ("algorithm", ctypes.c_int),
        ("kid", ctypes.c_char_p),
        ("genesis", ctypes.c_char_p),
        ("chain", ctypes.c_char_p),
        ("stream", ctypes.c_char_p),
        ("content_type", ctypes.c_char_p),
        ("counter", ctypes.c_uint64),
        ("time_ns", ctypes.c_int64),
    )


@pytest.mark.needs_cc
def test_the_specs_code_makes_the_vectors(tmp_path: Path, cc: str) -> None:
    text = (ROOT / "docs" / "spec" / "device-message.md").read_text()
    (code,) = re.findall(r"```c\n(.*?)```", text, re.S)
    source, library = tmp_path / "message.c", tmp_path / "message.so"
    source.write_text(code.replace("static size_t", "size_t"))
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([cc, *flags, "-o", str(library), str(source)], check=True, capture_output=True)
    own = ctypes.CDLL(str(library))
    for name in ("althing_protected", "althing_to_sign", "althing_envelope"):
        getattr(own, name).restype = ctypes.c_size_t
    size = ctypes.c_size_t
    room = ctypes.create_string_buffer(2048)
    document = json.loads((ROOT / "tests" / "vectors" / "device_message.json").read_text())
    cases = [case for case in document["cases"] if "error" not in case]
    assert len(cases) >= 10
    for case in cases:
        kid, genesis = bytes.fromhex(case["kid"]), bytes.fromhex(case["genesis_hash"])
        payload, signature = bytes.fromhex(case["payload"]), bytes.fromhex(case["signature"])
        message = _Message(
            case["algorithm"],
            kid,
            genesis,
            case["chain"].encode(),
            case["stream"].encode(),
            case["content_type"].encode(),
            int(case["counter"]),
            -1 if case["time_ns"] is None else int(case["time_ns"]),
        )
        count = own.althing_protected(ctypes.byref(message), room, size(2048))
        headers = room.raw[:count]
        assert headers.hex() == case["protected"]
        count = own.althing_to_sign(
            ctypes.byref(message), headers, size(len(headers)), payload, size(len(payload)), room, size(2048)
        )
        assert room.raw[:count].hex() == case["sig_structure"]
        count = own.althing_envelope(
            headers, size(len(headers)), payload, size(len(payload)), signature, room, size(2048)
        )
        assert room.raw[:count].hex() == case["message"]
        assert (
            own.althing_envelope(headers, size(len(headers)), payload, size(len(payload)), signature, room, size(9))
            == 0
        )
