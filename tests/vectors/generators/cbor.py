"""Deterministic CBOR: the bytes are written here by hand, the values beside them (docs/spec/encoding.md §1)."""

from __future__ import annotations

from typing import Any

Case = dict[str, Any]

_MALFORMED, _LONG = "cbor.malformed", "cbor.not_deterministic"

_ACCEPTED: tuple[tuple[str, str, Any], ...] = (
    ("integer 0", "00", 0),
    ("integer 23, the last in one byte", "17", 23),
    ("integer 24", "1818", 24),
    ("integer 255", "18ff", 255),
    ("integer 256", "190100", 256),
    ("integer 65535", "19ffff", 65535),
    ("integer 65536", "1a00010000", 65536),
    ("integer 2^32 - 1", "1affffffff", 4294967295),
    ("integer 2^32", "1b0000000100000000", 4294967296),
    ("integer 2^64 - 1, the greatest", "1bffffffffffffffff", {"int": "18446744073709551615"}),
    ("integer -1", "20", -1),
    ("integer -24", "37", -24),
    ("integer -25", "3818", -25),
    ("integer -70001, a private header label", "3a00011170", -70001),
    ("integer -2^63, the least", "3b7fffffffffffffff", {"int": "-9223372036854775808"}),
    ("empty byte string", "40", {"bytes": ""}),
    ("byte string", "4300ff10", {"bytes": "00ff10"}),
    ("byte string of 24 bytes", "5818" + "ab" * 24, {"bytes": "ab" * 24}),
    ("empty text", "60", ""),
    ("text", "67616c7468696e67", "althing"),
    ("text beyond ASCII", "65c3be696e67", "þing"),
    ("text with a supplementary character", "64f09f9ba1", "\U0001f6e1"),
    ("text with a zero character", "6100", "\x00"),
    ("empty array", "80", []),
    ("array", "8301820203f6", [1, [2, 3], None]),
    ("empty map", "a0", {"map": []}),
    ("map: integers before byte strings before texts", "a400f42001410002613103",
     {"map": [[0, False], [-1, 1], [{"bytes": "00"}, 2], ["1", 3]]}),
    ("map: shorter keys first, then bytewise", "a3616101616202626161f5", {"map": [["a", 1], ["b", 2], ["aa", True]]}),
    ("map: 24 stands before -1", "a2181800" + "2000", {"map": [[24, 0], [-1, 0]]}),
    ("false, true, null", "83f4f5f6", [False, True, None]),
    ("sixteen arrays inside each other", "81" * 15 + "80", None),
)  # fmt: skip

_REFUSED: tuple[tuple[str, str, str], ...] = (
    ("nothing", "", _MALFORMED),
    ("two items", "0000", _LONG),
    ("a byte after an array", "8100f6", _LONG),
    ("integer 0 in two bytes", "1800", _LONG),
    ("integer 23 in two bytes", "1817", _LONG),
    ("integer 255 in three bytes", "1900ff", _LONG),
    ("integer 65535 in five bytes", "1a0000ffff", _LONG),
    ("integer 2^32 - 1 in nine bytes", "1b00000000ffffffff", _LONG),
    ("integer -1 in two bytes", "3800", _LONG),
    ("length of a byte string in two bytes", "5801aa", _LONG),
    ("length of a text in two bytes", "780161", _LONG),
    ("length of an array in two bytes", "980100", _LONG),
    ("length of a map in two bytes", "b8010000", _LONG),
    ("a longer head inside a key", "a1180000", _LONG),
    ("integer -2^63 - 1", "3b8000000000000000", "cbor.integer_range"),
    ("integer -2^64", "3bffffffffffffffff", "cbor.integer_range"),
    ("integer cut off", "19ff", _MALFORMED),
    ("byte string cut off", "4200", _MALFORMED),
    ("array cut off", "8200", _MALFORMED),
    ("map cut off", "a100", _MALFORMED),
    ("array longer than anything", "9bffffffffffffffff", _MALFORMED),
    ("byte string longer than anything", "5bffffffffffffffff", _MALFORMED),
    ("reserved length", "1c", _MALFORMED),
    ("reserved length of a text", "7d", _MALFORMED),
    ("indefinite array", "9f01ff", _MALFORMED),
    ("indefinite map", "bf0102ff", _MALFORMED),
    ("indefinite byte string", "5f4100ff", _MALFORMED),
    ("indefinite text", "7f6161ff", _MALFORMED),
    ("a break alone", "ff", _MALFORMED),
    ("half float", "f93c00", "cbor.type"),
    ("single float", "fa47c35000", "cbor.type"),
    ("double float", "fb3ff8000000000000", "cbor.type"),
    ("NaN", "f97e00", "cbor.type"),
    ("undefined", "f7", "cbor.type"),
    ("simple value 16", "f0", "cbor.type"),
    ("simple value 255", "f8ff", "cbor.type"),
    ("false in two bytes", "f814", _MALFORMED),
    ("tag 0", "c06130", _MALFORMED),
    ("epoch time", "c11a514b67b0", _MALFORMED),
    ("bignum", "c249010000000000000000", _MALFORMED),
    ("decimal fraction", "c482200a", _MALFORMED),
    ("shared value", "d81c80", _MALFORMED),
    ("set", "d9010280", _MALFORMED),
    ("self-described", "d9d9f700", _LONG),
    ("invalid UTF-8", "62c328", _MALFORMED),
    ("half a surrogate pair in UTF-8", "63eda080", _MALFORMED),
    ("UTF-8 in a longer form", "62c080", _MALFORMED),
    ("map out of order", "a203040102", "cbor.map_order"),
    ("map: -1 before 0", "a220000000", "cbor.map_order"),
    ("map: longer text first", "a2626161006162" + "00", "cbor.map_order"),
    ("a key twice", "a201000100", _MALFORMED),
    ("a text key twice", "a2616100616100", _MALFORMED),
    ("boolean as key", "a1f400", "cbor.key_type"),
    ("null as key", "a1f600", "cbor.key_type"),
    ("array as key", "a18000", "cbor.key_type"),
    ("map as key", "a1a000", "cbor.key_type"),
    ("seventeen arrays inside each other", "81" * 16 + "80", "cbor.too_deep"),
    ("a thousand arrays inside each other", "81" * 1000 + "80", _MALFORMED),
)

_RECORDS: tuple[tuple[str, str, str], ...] = (
    ("Key of an unknown suite", "822858" + "20" + "00" * 32, "record.field"),
    ("Key of three fields", "83275820" + "00" * 32 + "f6", "record.form"),
    ("Key of one field", "8127", "record.form"),
    ("Key as a map", "a1275820" + "00" * 32, "record.form"),
    ("Key with a boolean for its suite", "82f55820" + "00" * 32, "record.field"),
    ("Key with a text for its key", "82276161", "record.field"),
    ("Key of 34 bytes", "82275822" + "00" * 34, "record.field"),
)


def document() -> Case:
    cases: list[Case] = []
    for name, data, value in _ACCEPTED:
        if name.startswith("sixteen"):
            value = []
            for _ in range(15):
                value = [value]
        cases.append({"name": name, "bytes": data, "value": value})
    cases += [{"name": f"refused: {name}", "bytes": data, "error": error} for name, data, error in _REFUSED]
    cases.append(
        {"name": "refused: beyond the bytes allowed", "bytes": "4300ff10", "bytes_max": 3, "error": "cbor.too_large"}
    )
    cases.append(
        {"name": "refused: beyond the depth allowed", "bytes": "818180", "depth_max": 2, "error": "cbor.too_deep"}
    )
    cases += [{"name": f"record: {name}", "key_record": data, "error": error} for name, data, error in _RECORDS]
    cases.append({"name": "record: Key", "key_record": "82275820" + "11" * 32, "suite": -8, "public": "11" * 32})
    return {
        "suite": "cbor",
        "spec": "docs/spec/encoding.md",
        "description": (
            'What the one encoding of every value is, and what is refused. Values as JSON: {"int": text} beyond 2^53, '
            '{"bytes": hex}, {"map": [[key, value], …]}. \'key_record\' holds the bytes of a Key (two fields). Which '
            "code names a refusal is this project's own choice where several would fit."
        ),
        "cases": cases,
    }
