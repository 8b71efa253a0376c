"""Proof files of real chains in process, whole and damaged, with the step that refuses each (docs/spec/proof.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from checkers.proof import explained

from althing.light.verifier import ProofError, verify_proof
from althing.node.trustway import Pin
from althing.protocol.address import key_id
from althing.protocol.batch import Leaf, Origin
from althing.protocol.block import BlockIdFlag, Commit, CommitSig, Timestamp, precommit_sign_bytes
from althing.protocol.codec import decode, encode
from althing.protocol.cose import sign1
from althing.protocol.errors import EncodingError
from althing.protocol.hashing import DOMAIN_MESSAGE
from althing.protocol.message import sign_message
from althing.protocol.messages.governance import SetValidator
from althing.protocol.messages.governance import Validator as Member
from althing.protocol.messages.identity import Key, RotateKeys
from althing.protocol.messages.streams import AnchorRow, StreamHead
from althing.protocol.proof import Proof, ValidatorPart
from althing.protocol.reading import Kind
from althing.protocol.schema import Quantity, StreamSchema
from althing.protocol.signatures import P256_ORDER, PrivateKey, Suite
from althing.protocol.stateproof import PresenceProof
from althing.protocol.trust import Trust, format_trust, parse_trust
from althing.testing.harness import Actor, seeded_key
from althing.testing.proofs import ProofChain, seeded_validators

Case = dict[str, Any]

RULES = True
SCHEMA = StreamSchema((Quantity("temperature", "Cel", Kind.NUMBER),), content_type="application/senml+json")
SECOND = 1_000_000_000
PRESS, PUMP, SCALE = "press-1/temperature", "pump-7/flow", "scale-3/weight"


class _Cases:
    """Collects cases; each outcome is the verifier's own, and must be the one that was expected."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def add(
        self, name: str, proof: Proof | bytes, trust: Trust, step: int = 0, *, require: bool = False, stride: int = 0
    ) -> None:
        data = proof if isinstance(proof, bytes) else proof.to_bytes()
        text = format_trust(trust)
        case: Case = {"name": name, "trust": json.loads(text), "require_device": require, "proof": data.hex()}
        found = _outcome(data, trust, require)
        assert found.get("failing_step", 0) == step, (name, found)
        case.update(found)
        if stride:
            case["stride"] = stride
            case["flipped"] = "".join(
                str(_outcome(_flipped(data, at), trust, require)["failing_step"]) for at in range(0, len(data), stride)
            )
        self.cases.append(case)

    def refuse_trust(self, name: str, text: str) -> None:
        code = ""
        try:
            parse_trust(text.encode())
        except EncodingError as exc:
            code = exc.code
        assert code == "trust.form", name
        self.cases.append({"name": name, "trust_file": text, "error": "trust.form"})


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]


def _outcome(data: bytes, trust: Trust, require: bool) -> Case:
    try:
        verified = verify_proof(data, trust, require_device=require)
    except ProofError as exc:
        return {"failing_step": exc.step, "code": exc.code}
    return {
        "result": {
            "stream": verified.stream,
            "sequence": verified.sequence,
            "origin": verified.origin.name.lower(),
            "header_height": verified.height,
            "anchor_height": verified.row.height,
            "body": verified.leaf.body.hex(),
        }
    }


def document() -> Case:
    cases = _Cases()
    _one_validator(cases)
    _origins(cases)
    _keys(cases)
    _four_validators(cases)
    _changing_validators(cases)
    _trust_files(cases)
    return {
        "suite": "proof",
        "spec": "docs/spec/proof.md",
        "description": (
            "Proof files with their trust files. A case has a 'result', or the 'failing_step' that this project's "
            "verifier names (another may fail at another step, but must fail). 'flipped' has a digit for each "
            "'stride'-th byte of the file from the first on: the failing step when its bit (offset mod 8) is inverted. "
            "Cases with 'trust_file' hold the text of a trust file that is refused."
        ),
        "cases": cases.cases,
    }


def _message(chain: ProofChain, key: PrivateKey, stream: str, counter: int, celsius: str, **more: Any) -> bytes:
    payload = f'[{{"n":"temperature","u":"Cel","v":{celsius}}}]'.encode()
    kind = "application/senml+json"
    return sign_message(key, chain.genesis_hash, chain.chain_id, stream, counter, payload, content_type=kind, **more)


def _factory() -> tuple[ProofChain, Actor, Actor]:
    """One validator; a device of each suite and one that cannot sign; two batches over three streams."""
    chain = ProofChain(chain_id="factory-1")
    press = chain.device("press-1", seeded_key("press-1"))
    pump = chain.device("pump-7", seeded_key("pump-7", Suite.ES256))
    chain.legacy_device("scale-3")
    for path in (PRESS, PUMP, SCALE):
        chain.define(*path.split("/"), SCHEMA)
    chain.send(PRESS, _message(chain, press.key, PRESS, 1, "20.5"))
    chain.anchor()
    for number in range(5):
        time_ns = (chain.time_s - 10 + number) * SECOND
        chain.send(PRESS, _message(chain, press.key, PRESS, 2 + number, f"21.{number}", time_ns=time_ns))
        chain.send(PUMP, _message(chain, pump.key, PUMP, 2**64 - 6 + number, f"8.{number}"))
        chain.send(SCALE, b'{"kg": 12.%d}' % number, origin=Origin.GATEWAY, content_type="application/json")
    chain.anchor()
    return chain, press, pump


def _one_validator(cases: _Cases) -> None:
    chain, _, _ = _factory()
    first = chain.proof(PRESS, 0)
    trust = chain.trust()
    cases.add("Ed25519, the trusted header itself", first, trust, stride=1)
    cases.cases[-1]["explained"] = {name: value.hex() for name, value in explained(first.to_bytes()).items()}
    cases.add("Ed25519, device signature required", first, trust, require=True)
    cases.add("trusted height before the proof's", first, chain.trust(3))
    chain.block()
    cases.add("trusted height after the proof's", first, chain.trust())
    cases.add("a later leaf of a larger batch, with device time", chain.proof(PRESS, 3), trust)
    data = first.to_bytes()

    cases.add("empty file", b"", trust, 1)
    cases.add("truncated", data[:-1], trust, 1)
    cases.add("a byte follows", data + b"\x00", trust, 1)
    cases.add("a longer head than needed", b"\x98\x11" + data[1:], trust, 1)
    cases.add("one field less", encode(decode(data)[:-1]), trust, 1)
    cases.add("one field more", encode([*decode(data), None]), trust, 1)
    cases.add("another magic", replace(first, magic="althing-prooF"), trust, 1)
    cases.add("version 2", encode(["althing-proof", 2, *decode(data)[2:]]), trust, 1)
    cases.add("a boolean for a number", encode([*decode(data)[:7], False, *decode(data)[8:]]), trust, 1)
    cases.add("an ICS-23 style proof of absence in place of presence", _with(data, 10, [1, 0, b"", b""]), trust, 1)
    head_proof = decode(data)[10]
    cases.add("state proof: a bit beyond the depth", _with(data, 10, _wider(head_proof)), trust, 1)
    header = first.signed_header
    unknown = replace(header, header=header.header + b"\x78\x01")
    cases.add("header with an unknown field", replace(first, signed_header=unknown), trust, 1)
    long_varint = replace(header, commit=b"\x08" + _padded(header.commit[1:]))
    cases.add("commit with a longer varint", replace(first, signed_header=long_varint), trust, 1)

    cases.add("another chain id", replace(first, chain_id="factory-2"), trust, 2)
    cases.add("another genesis", replace(first, genesis_hash=bytes(32)), trust, 2)
    other = replace(trust, genesis_hash=b"\x01" * 32)
    cases.add("a trust file of a chain of the same name", first, other, 2)

    leaf = Leaf.from_bytes(first.leaf)
    cases.add("another arrival", replace(first, leaf=replace(leaf, arrival=leaf.arrival + 1).to_bytes()), trust, 3)
    cases.add("another salt", replace(first, leaf=replace(leaf, salt=bytes(16)).to_bytes()), trust, 3)
    cases.add("leaf not canonical", replace(first, leaf=b"\x98\x08" + first.leaf[1:]), trust, 3)
    cases.add("leaf of version 2", replace(first, leaf=encode([2, *decode(first.leaf)[1:]])), trust, 3)
    second = chain.proof(PRESS, 3)
    swapped = replace(second, leaf_path=(second.leaf_path[1], second.leaf_path[0], *second.leaf_path[2:]))
    cases.add("path out of order", swapped, chain.trust(), 3)
    cases.add("path too long", replace(second, leaf_path=(*second.leaf_path, bytes(32))), chain.trust(), 3)
    cases.add("path too short", replace(second, leaf_path=second.leaf_path[:-1]), chain.trust(), 3)
    cases.add("row that does not cover the sequence", replace(first, row=second.row), trust, 3)

    row = AnchorRow.from_bytes(first.row)
    cases.add("row of another height", replace(first, row=replace(row, height=row.height - 1).to_bytes()), trust, 4)
    cases.add("row index off by one", replace(first, row_index=first.row_index + 1), trust, 4)
    cases.add("row index beyond the log", replace(first, row_index=2), trust, 4)

    head = StreamHead.from_bytes(first.head)
    shifted = replace(head, next_sequence=head.next_sequence + 1)
    cases.add("stream head that the state does not hold", replace(first, head=shifted.to_bytes()), trust, 5)
    pump = chain.proof(PUMP, 0)
    cases.add("definition of another stream", replace(first, definition=pump.definition), trust, 5)
    whole = replace(first, head=pump.head, head_proof=pump.head_proof, definition=pump.definition)
    cases.add("another stream's head and definition", replace(whole, row=pump.row, row_path=pump.row_path), trust, 3)
    siblings = first.head_proof.siblings
    turned = PresenceProof((siblings[1], siblings[0], *siblings[2:]))
    cases.add("state proof with siblings exchanged", replace(first, head_proof=turned), trust, 5)

    cases.add("another device's account", replace(first, account=pump.account), trust, 6)
    moved = replace(first, account=pump.account, account_proof=pump.account_proof)
    cases.add("another device's account with its own proof", moved, trust, 6)


def _with(data: bytes, field: int, item: object) -> bytes:
    parts = decode(data)
    return encode([*parts[:field], item, *parts[field + 1 :]])


def _wider(proof: list[Any]) -> list[Any]:
    kind, depth, bitmap, hashes = proof
    assert depth % 8
    bits = int.from_bytes(bitmap, "little") | 1 << depth
    return [kind, depth, bits.to_bytes(len(bitmap), "little"), hashes]


def _padded(varint: bytes) -> bytes:
    assert varint[0] < 0x80
    return bytes((varint[0] | 0x80, 0)) + varint[1:]


def _origins(cases: _Cases) -> None:
    """What stands in the body: signatures of both suites, the gateway's word, and what step 7 refuses."""
    chain, press, pump = _factory()
    es256 = chain.proof(PUMP, 2)
    trust = chain.trust()
    cases.add("ES256", es256, trust, require=True, stride=3)
    attested = chain.proof(SCALE, 4)
    cases.add("attested by the gateway", attested, chain.trust())
    cases.add("attested by the gateway, device signature required", attested, chain.trust(), 7, require=True)

    def bad(name: str, body: bytes, stream: str = PRESS) -> None:
        sequence = chain.send(stream, body)
        chain.anchor()
        cases.add(name, chain.proof(stream, sequence), chain.trust(), 7)

    good = _message(chain, press.key, PRESS, 90, "22.0")
    bad("not a COSE message", b'{"kg": 1}')
    bad("signature with a bit changed", good[:-1] + bytes((good[-1] ^ 1,)))
    bad("untagged COSE_Sign1", good[1:])
    bad("a byte follows the COSE message", good + b"\x00")
    parts = decode(good[1:])
    unprotected = b"\xd2" + encode([parts[0], {4: b"x"}, parts[2], parts[3]])
    bad("a header outside the signature", unprotected)
    bad("detached payload", b"\xd2" + encode([parts[0], {}, None, parts[3]]))
    aad = DOMAIN_MESSAGE + chain.genesis_hash
    kid = key_id(press.key.suite, press.key.public)
    headers = {-70001: chain.chain_id, -70002: PRESS, -70003: 91}
    bad("an unknown protected header", sign1(press.key, kid, b"x", aad, {**headers, -70005: 1}))
    bad("no counter", sign1(press.key, kid, b"x", aad, {-70001: chain.chain_id, -70002: PRESS}))
    bad("a negative counter", sign1(press.key, kid, b"x", aad, {**headers, -70003: -1}))
    bad("signed for another stream", _message(chain, press.key, "press-1/pressure", 92, "1"))
    bad("signed for another chain", sign_message(press.key, chain.genesis_hash, "factory-2", PRESS, 93, b"x"))
    bad("signed for another genesis", sign_message(press.key, bytes(32), chain.chain_id, PRESS, 94, b"x"))
    bad("signed as a transaction", sign1(press.key, kid, b"x", b"althing/tx/v1" + chain.genesis_hash, headers))
    bad("another device's key", _message(chain, pump.key, PRESS, 95, "1"))
    bad("right key id, another key", _forged(seeded_key("thief"), kid, chain))
    signed = _message(chain, pump.key, PUMP, 96, "1")
    s = P256_ORDER - int.from_bytes(signed[-32:], "big")
    bad("ES256 with high s", signed[:-32] + s.to_bytes(32, "big"), PUMP)
    protected = encode(
        {1: -8, 4: key_id(pump.key.suite, pump.key.public), -70001: "factory-1", -70002: PUMP, -70003: 97}
    )
    value = pump.key.sign(encode(["Signature1", protected, aad, b"x"]))
    bad("ES256 key under the algorithm EdDSA", b"\xd2" + encode([protected, {}, b"x", value]), PUMP)


def _forged(key: PrivateKey, kid: bytes, chain: ProofChain) -> bytes:
    headers = {-70001: chain.chain_id, -70002: PRESS, -70003: 98}
    return sign1(key, kid, b"x", DOMAIN_MESSAGE + chain.genesis_hash, headers)


def _keys(cases: _Cases) -> None:
    """Keys that are rotated, ended, revoked, or valid only later."""
    chain, press, _ = _factory()
    old, new, later = press.key, seeded_key("press-1 second"), seeded_key("press-1 third", Suite.ES256)
    before = chain.send(PRESS, _message(chain, old, PRESS, 10, "20.0"))
    chain.anchor()
    rotate = RotateKeys(
        press.address, (Key(new.suite, new.public),), None, (key_id(old.suite, old.public),), False, None
    )
    arrived = chain.time_s * SECOND
    assert chain.run(press, rotate).ok
    cases.add("signed before a rotation", chain.proof(PRESS, before), chain.trust())
    after = chain.send(PRESS, _message(chain, new, PRESS, 11, "20.1"))
    ended = chain.send(PRESS, _message(chain, old, PRESS, 12, "20.2"))
    delayed = chain.send(PRESS, _message(chain, old, PRESS, 13, "20.3"), arrival_ns=arrived)
    chain.anchor()
    cases.add("signed with the key of a rotation", chain.proof(PRESS, after), chain.trust())
    cases.add("arrived after its key had ended", chain.proof(PRESS, ended), chain.trust(), 7)
    cases.add("arrived before its key ended, anchored after", chain.proof(PRESS, delayed), chain.trust())

    kept = chain.send(PRESS, _message(chain, new, PRESS, 14, "20.4"))
    chain.anchor()
    admin = Actor(chain.admin.key, chain.admin.address)
    coming = chain.time_s + 100
    add = RotateKeys(press.address, (Key(later.suite, later.public),), coming, (), False, None)
    assert chain.run(admin, add).ok
    early = chain.send(PRESS, _message(chain, later, PRESS, 15, "20.5"))
    chain.anchor()
    cases.add("anchored before its key was valid", chain.proof(PRESS, early), chain.trust(), 7)
    chain.block(seconds=100)
    due = chain.send(PRESS, _message(chain, later, PRESS, 16, "20.6"))
    chain.anchor()
    cases.add("anchored once its key was valid", chain.proof(PRESS, due), chain.trust())

    stolen = RotateKeys(press.address, (), None, (key_id(new.suite, new.public),), True, None)
    arrived = chain.time_s * SECOND
    assert chain.run(admin, stolen).ok
    forged = chain.send(PRESS, _message(chain, new, PRESS, 17, "99"), arrival_ns=arrived)
    chain.anchor()
    cases.add("anchored before its key was revoked", chain.proof(PRESS, kept), chain.trust())
    cases.add(
        "anchored after its key was revoked, said to have arrived before", chain.proof(PRESS, forged), chain.trust(), 7
    )


def _four_validators(cases: _Cases) -> None:
    keys = seeded_validators(4)
    chain = ProofChain(chain_id="consortium-4", validators=keys)
    meter = chain.device("meter", seeded_key("meter"))
    path = chain.define("meter", "power", SCHEMA)
    for number in range(9):
        chain.send(path, _message(chain, meter.key, path, number, str(100 + number)))
        if number % 2:
            chain.anchor()
    chain.anchor()
    whole = chain.proof(path, 8)
    cases.add("four validators", whole, chain.trust())
    chain.silence([keys[2][0]])
    three = chain.proof(path, 4)
    cases.add("three of four signed", three, chain.trust())
    chain.silence([keys[1][0], keys[2][0]])
    cases.add("two of four signed", chain.proof(path, 4), chain.trust(), 8)
    chain.silence([])

    height = chain.height
    part, trust = whole.signed_header, chain.trust()
    commit = Commit.decode(part.commit)
    order = chain.validators_at(height).validators
    signers = {key.public: key for key, _ in keys}

    def recommitted(change: Callable[[int, CommitSig], CommitSig]) -> Proof:
        entries = tuple(change(i, entry) for i, entry in enumerate(commit.signatures))
        changed = replace(commit, signatures=entries)
        return replace(whole, signed_header=replace(part, commit=changed.encode()))

    def nil(index: int, entry: CommitSig) -> CommitSig:
        if index != 3:
            return entry
        time = Timestamp(entry.timestamp.seconds, 77)
        message = precommit_sign_bytes(chain.chain_id, commit.height, commit.round, None, time)
        return CommitSig(BlockIdFlag.NIL, entry.address, time, signers[order[3].public_key].sign(message))

    def spoiled(index: int, entry: CommitSig) -> CommitSig:
        return entry if index != 3 else replace(entry, signature=bytes(64))

    cases.add("three signed and one for nil", recommitted(nil), trust)
    cases.add("three signed, a fourth signature does not verify", recommitted(spoiled), trust, 8)
    bad_nil = replace(nil(3, commit.signatures[3]), signature=commit.signatures[3].signature)
    cases.add("a vote for nil that does not verify", recommitted(lambda i, e: bad_nil if i == 3 else e), trust, 8)
    swap = {0: 1, 1: 0, 2: 2, 3: 3}
    cases.add("precommits in another order", recommitted(lambda i, _: commit.signatures[swap[i]]), trust, 8)
    fewer = replace(commit, signatures=commit.signatures[:3])
    cases.add(
        "three precommits for four validators",
        replace(whole, signed_header=replace(part, commit=fewer.encode())),
        trust,
        8,
    )
    cases.add("commit of another height", _with_commit(whole, replace(commit, height=commit.height + 1)), trust, 8)
    cases.add("commit of another round", _with_commit(whole, replace(commit, round=1)), trust, 8)
    reordered = replace(part, validators=(part.validators[1], part.validators[0], *part.validators[2:]))
    cases.add("validators out of order", replace(whole, signed_header=reordered), trust, 1)
    twice = replace(part, validators=(part.validators[0], part.validators[0], *part.validators[2:]))
    cases.add("a validator twice", replace(whole, signed_header=twice), trust, 1)
    stronger = replace(part, validators=(ValidatorPart(part.validators[0].public, 11), *part.validators[1:]))
    cases.add("a validator with more power", replace(whole, signed_header=stronger), trust, 8)
    cases.add("both links and history", replace(three, links=(part,), history=chain.history(5, height)), trust, 1)
    for name, changed in _other_sets(trust):
        cases.add(f"trusted validators: {name}", whole, changed, 9)
    at = whole_height(whole)
    cases.add("another trusted header of the same height", whole, replace(chain.trust(at), header_hash=bytes(32)), 9)


def whole_height(proof: Proof) -> int:
    return Commit.decode(proof.signed_header.commit).height


def _with_commit(proof: Proof, commit: Commit) -> Proof:
    return replace(proof, signed_header=replace(proof.signed_header, commit=commit.encode()))


def _other_sets(trust: Trust) -> list[tuple[str, Trust]]:
    """The trusted set with one power, one key changed, and one member less."""
    document = json.loads(format_trust(trust))
    changed = []
    for name in ("a power", "a key", "one less")[: 2 if len(trust.validators.validators) == 1 else 3]:
        copy = json.loads(json.dumps(document))
        member = copy["validators"][0]
        if name == "a power":
            member["power"] += 1
        elif name == "a key":
            member["public_key"] = "00" + member["public_key"][2:]
        else:
            copy["validators"].pop()
        changed.append((name, parse_trust(json.dumps(copy).encode())))
    return changed


def _changing_validators(cases: _Cases) -> None:
    """One founder hands the chain over to three others, one after the other; proofs across the change."""
    founder = seeded_validators(1)
    chain = ProofChain(chain_id="handover", validators=founder)
    lock = chain.device("lock", seeded_key("lock"))
    path = chain.define("lock", "state", SCHEMA)
    chain.send(path, _message(chain, lock.key, path, 1, "1"))
    chain.anchor()
    chain.block()
    chain.block()
    early = chain.height  # two blocks without content stand before it: the header log knows it through a descent
    members = [seeded_key(f"validator-{number}") for number in (1, 2, 3)]
    for key in members:
        chain.add_signer(key)
        assert chain.run(chain.admin, SetValidator(Member(key.public, 10, chain.admin.address))).ok
        chain.block()
        chain.block()
    joined = chain.height
    leave = SetValidator(Member(founder[0][0].public, 0, chain.admin.address))
    assert chain.run(chain.admin, leave).ok
    chain.block()
    chain.block()
    chain.send(path, _message(chain, lock.key, path, 2, "0"))
    chain.anchor()
    chain.block()
    late = chain.height

    plain = chain.proof(path, 1, at=late)
    cases.add("validators changed, no link", plain, chain.trust(early), 9)
    # With the founder in every set until the last change, the powers allow a skip to where three of four are new.
    links = [early, joined]
    linked = chain.proof(path, 1, at=late, links=links)
    cases.add("links that skip", linked, chain.trust(early), stride=7)
    every = chain.proof(path, 1, at=late, links=list(range(late - 4, late)))
    cases.add("links one by one", every, chain.trust(late - 4))
    mixed = chain.proof(path, 1, at=late, links=[early, early + 1, early + 2, joined])
    cases.add("links, adjacent and skipping", mixed, chain.trust(early))
    cases.add("links from another trusted height", linked, chain.trust(early + 1), 9)
    cases.add(
        "a skip that too little trusted power signed",
        chain.proof(path, 1, at=late, links=[early]),
        chain.trust(early),
        9,
    )
    backwards = chain.proof(path, 1, at=late, links=[early, joined, early + 2])
    cases.add("links that go back", backwards, chain.trust(early), 9)
    twice = chain.proof(path, 1, at=late, links=[early, joined, joined])
    cases.add("a link twice", twice, chain.trust(early), 9)
    itself = chain.proof(path, 1, at=late, links=[late])
    cases.add("a link to the proof's own header", itself, chain.trust(late), 9)
    spoiled = linked.links[0].commit[:-1] + bytes((linked.links[0].commit[-1] ^ 1,))
    spoiled_links = replace(linked, links=(replace(linked.links[0], commit=spoiled), *linked.links[1:]))
    cases.add("the first link's commit does not verify", spoiled_links, chain.trust(early), 9)
    second = linked.links[1]
    disordered = replace(second, validators=(*second.validators[1:], second.validators[0]))
    out_of_order = replace(linked, links=(linked.links[0], disordered))
    cases.add("a link's validators out of order", out_of_order, chain.trust(early), 1)
    doubled = replace(second, validators=(second.validators[0], *second.validators))
    cases.add("a link's validator twice", replace(linked, links=(linked.links[0], doubled)), chain.trust(early), 1)
    unknown = replace(second, header=second.header + b"\x78\x01")
    cases.add(
        "a link's header with an unknown field",
        replace(linked, links=(linked.links[0], unknown)),
        chain.trust(early),
        9,
    )
    for name, changed in _other_sets(chain.trust(early)):
        cases.add(f"links, trusted validators: {name}", linked, changed, 9)

    content = next(h for h in range(early, late) if chain.signed_header(h + 1).header.app_hash != _root(chain, h))
    for name, at in (("with a descent", early - 1), ("of a block with content", content)):
        past = chain.proof(path, 0, at=at, checkpoint=late)
        cases.add(f"history {name}", past, chain.trust(late), stride=5 if at < early else 0)
    past = chain.proof(path, 0, at=early - 1, checkpoint=late)
    assert past.history is not None
    assert past.history.descent
    cases.add("history without the descent it needs", _history(past, descent=()), chain.trust(late), 9)
    short = past.history.descent[:-1]
    cases.add("history with a descent that ends too early", _history(past, descent=short), chain.trust(late), 9)
    cases.add("history with another index", _history(past, index=past.history.index + 1), chain.trust(late), 9)
    cases.add("history from another trusted height", past, chain.trust(late - 1), 9)
    cases.add("history entry changed", _history(past, entry=past.history.entry[:-1] + b"\x00"), chain.trust(late), 9)
    for name, changed in _other_sets(chain.trust(late)):
        cases.add(f"history, trusted validators: {name}", past, changed, 9)

    made, older, newer = chain.builder(), chain.trust(early), chain.trust(late)
    cases.add("made for an older trust file", made.proof(path, 1, Pin.of(older)), older)
    cases.add("made for a newer trust file", made.proof(path, 0, Pin.of(newer), early - 1), newer)
    cases.add("an old proof tied to a newer trust file", made.tied(plain.to_bytes(), Pin.of(newer)), newer)
    again = made.tied(past.to_bytes(), Pin.of(older))
    cases.add("a proof through the log, tied to a trust file of its validators", again, older)


def _history(proof: Proof, **changes: Any) -> Proof:
    assert proof.history is not None
    return replace(proof, history=replace(proof.history, **changes))


def _root(chain: ProofChain, height: int) -> bytes:
    return chain.signed_header(height).header.app_hash


def _trust_files(cases: _Cases) -> None:
    chain = ProofChain(chain_id="trusted")
    good = json.loads(format_trust(chain.trust()))

    def refuse(name: str, **changes: Any) -> None:
        changed = {**good, **changes}
        cases.refuse_trust(name, json.dumps({key: value for key, value in changed.items() if value is not ...}))

    member = good["validators"][0]
    refuse("trust: another format", format="althing-trust/2")
    refuse("trust: no genesis", genesis_hash=...)
    refuse("trust: upper-case hexadecimal", genesis_hash=good["genesis_hash"].upper())
    refuse("trust: hash too short", header_hash=good["header_hash"][2:])
    refuse("trust: height 0", height=0)
    refuse("trust: height as text", height="1")
    refuse("trust: height as fraction", height=1.0)
    refuse("trust: height beyond 2^53", height=2**53)
    refuse("trust: no validators", validators=[])
    refuse("trust: a validator twice", validators=[member, member])
    refuse("trust: power 0", validators=[{**member, "power": 0}])
    refuse("trust: power true", validators=[{**member, "power": True}])
    refuse("trust: chain id with a capital", chain_id="Trusted")
    twice = json.dumps(good)[:-1]
    cases.refuse_trust("trust: a member twice", twice + ', "height": 1}')
    cases.refuse_trust("trust: a member twice, once escaped", twice + ', "heigh\\u0074": 1}')
    cases.refuse_trust("trust: an ignored member twice", twice + ', "note": {"a": 1, "a": 2}}')
    cases.refuse_trust("trust: byte order mark", "\ufeff" + json.dumps(good))
    cases.refuse_trust("trust: not JSON", json.dumps(good)[:-1])
    cases.refuse_trust("trust: an array", "[]")
    cases.refuse_trust("trust: NaN", json.dumps(good)[:-1] + ', "note": NaN}')
