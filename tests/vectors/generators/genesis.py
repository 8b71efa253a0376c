"""Genesis records, their hash, and the engine's app_state (docs/spec/genesis.md)."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

from althing.protocol.codec import Item, decode, encode
from althing.protocol.messages.governance import (
    Genesis,
    GenesisNode,
    GenesisOrganisation,
    GenesisReader,
    GenesisValidator,
    Parameters,
    PrivateChain,
    Quota,
)
from althing.protocol.messages.identity import Key
from althing.protocol.messages.staking import GenesisAllocation, PublicChain, StakingParameters
from althing.protocol.signatures import PrivateKey, Suite

Case = dict[str, Any]


def _key(number: int, suite: Suite = Suite.ED25519) -> Key:
    return Key(suite, PrivateKey(suite, sha256(b"founder %d" % number).digest()).public)


def _genesis() -> Genesis:
    quota = Quota(10**9, 10**12)
    return Genesis(
        version=1,
        chain_id="harbour-1",
        time=1_700_000_000,
        initial_height=1,
        app_version=1,
        salt=bytes(range(16)),
        parameters=Parameters(1, 2, 600, 60, 0, 10_000_000_000, 1024 * 1024),
        organisations=(
            GenesisOrganisation("port", True, 1, (_key(0),), quota),
            GenesisOrganisation("customs", True, 2, (_key(1), _key(2, Suite.ES256)), quota),
        ),
        validators=(GenesisValidator(_key(3).public, 10, "port"), GenesisValidator(_key(4).public, 10, "customs")),
        nodes=(GenesisNode("node-1", "port", _key(5)),),
    )


def _public() -> Genesis:
    rules = StakingParameters(1, 1000, 10, 21, 5, 604_800, 172_800, 50_000, 3600, 250_000, 2**30, 2**40)
    founders = (GenesisAllocation("port", 10**12, 100_000), GenesisAllocation("customs", 0, 100_000))
    kind = PublicChain("thing", "Thing", 6, 172_800, 2_880, rules, founders)
    validators = tuple(replace(one, power=10_000) for one in _genesis().validators)
    return replace(_genesis(), version=2, validators=validators, kind=kind)


def _private() -> Genesis:
    readers = (GenesisReader("auditor", _key(6)), GenesisReader("insurer", _key(7, Suite.ES256)))
    founder, validator = _genesis().organisations[0], _genesis().validators[0]
    kind = PrivateChain(readers)
    return replace(_genesis(), version=2, organisations=(founder,), validators=(validator,), kind=kind)


def _case(name: str, genesis: Genesis) -> Case:
    data = genesis.to_bytes()
    return {
        "name": name,
        "genesis": data.hex(),
        "hash": sha256(b"althing/genesis/v1" + data).hexdigest(),
        "app_state": '"' + data.hex() + '"',
        "chain_id": genesis.chain_id,
        "time": genesis.time,
        "organisations": [organisation.name for organisation in genesis.organisations],
        "addresses": [organisation.address.hex() for organisation in genesis.organisations],
        "validators": [[validator.public.hex(), validator.power] for validator in genesis.validators],
    }


def document() -> Case:
    genesis = _genesis()
    good: Any = decode(genesis.to_bytes())
    public: Any = decode(_public().to_bytes())

    def changed(index: int, value: Item) -> str:
        return encode([*good[:index], value, *good[index + 1 :]]).hex()

    cases = [
        _case("two founders, two validators", genesis),
        _case("the same with another salt", replace(genesis, salt=bytes(16))),
        _case("the same a second later", replace(genesis, time=genesis.time + 1)),
        _case("a public chain", _public()),
        _case("a private chain", _private()),
    ]
    for name, data, error in (
        ("version 2", changed(0, 2), "record.field"),
        ("chain id with a capital", changed(1, "Harbour"), "record.field"),
        ("initial height 0", changed(3, 0), "record.field"),
        ("salt of 15 bytes", changed(5, bytes(15)), "record.field"),
        ("no organisations", changed(7, []), "record.field"),
        ("no validators", changed(8, []), "record.field"),
        ("a validator without power", changed(8, [[_key(3).public, 0, "port"]]), "record.field"),
        ("101 validators", changed(8, [[_key(3).public, 1, "port"]] * 101), "record.field"),
        ("no nodes", changed(9, []), "record.field"),
        ("a field more", encode([*good, None]).hex(), "record.form"),
        ("version 1 with a kind", encode([1, *public[1:]]).hex(), "record.form"),
        ("version 2 without a kind", encode([*public[:10], None]).hex(), "record.field"),
        ("an unknown kind", encode([*public[:10], ["open", public[10][1]]]).hex(), "record.field"),
        ("a kind with a field less", encode([*public[:10], ["public", public[10][1][:-1]]]).hex(), "record.form"),
        ("a lifetime of nine seconds", changed(6, [1, 1, 9, *good[6][3:]]), "record.field"),
    ):
        cases.append({"name": f"refused: {name}", "app_state": f'"{data}"', "error": error})
    spaced = genesis.to_bytes().hex(" ")
    cases.append({"name": "app_state refused: spaces", "app_state": f'"{spaced}"', "error": "genesis.form"})
    upper = genesis.to_bytes().hex().upper()
    cases.append({"name": "app_state refused: upper case", "app_state": f'"{upper}"', "error": "genesis.form"})
    for name, text in (("not a string", "{}"), ("not hexadecimal", '"zz"'), ("an odd digit", '"8"'), ("no end", '"8a')):
        cases.append({"name": f"app_state refused: {name}", "app_state": text, "error": "genesis.form"})
    return {
        "suite": "genesis",
        "spec": "docs/spec/genesis.md",
        "description": "Genesis records with their hash and app_state, and what is refused.",
        "cases": cases,
    }
