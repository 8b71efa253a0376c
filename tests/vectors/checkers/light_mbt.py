"""CometBFT's model-based light client vectors: a story of headers, each with the verdict it deserves."""

from __future__ import annotations

from typing import Any

from althing.light.blocks import LightBlock
from althing.light.errors import LightError, NotEnoughTrustError
from althing.light.headers import Freshness
from althing.light.verification import verify
from althing.protocol.block import ValidatorSet
from althing.protocol.block.jsonform import signed_header_of_json, time_of_json, validators_of_json
from althing.protocol.errors import ProtocolError

_DRIFT_NS = 1_000_000_000  # `1*time.Second` in CometBFT's driver of these vectors


def check(case: dict[str, Any]) -> None:
    initial = case["initial"]
    trusted = signed_header_of_json(initial["signed_header"]).header
    trusted_validators = _validators(initial["next_validator_set"])
    for step in case["input"]:
        freshness = Freshness(time_of_json(step["now"]), int(initial["trusting_period"]), _DRIFT_NS)
        block = step["block"]
        verdict = "SUCCESS"
        try:
            untrusted = LightBlock(signed_header_of_json(block["signed_header"]), _validators(block["validator_set"]))
            verify(trusted, trusted_validators, untrusted, freshness)
        except NotEnoughTrustError:
            verdict = "NOT_ENOUGH_TRUST"
        except (LightError, ProtocolError):
            verdict = "INVALID"
        assert verdict == step["verdict"], (verdict, step["verdict"])
        if verdict == "SUCCESS":
            trusted, trusted_validators = untrusted.header, _validators(block["next_validator_set"])
    assert case["input"]


def _validators(described: dict[str, Any]) -> ValidatorSet:
    return ValidatorSet(tuple(validators_of_json(described["validators"])))
