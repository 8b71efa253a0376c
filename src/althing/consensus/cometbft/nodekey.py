"""A node's key on the peer-to-peer network, in CometBFT's form. It names the node to its peers and signs no blocks."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Final

from nacl.bindings import crypto_sign_seed_keypair

from althing.consensus.engine import EngineError
from althing.protocol.block import validator_address
from althing.service.durable import make_folders

__all__ = ["node_id"]

_PRIVATE_TYPE: Final = "tendermint/PrivKeyEd25519"


def node_id(path: Path) -> str:
    """The name by which peers know a node, from its key file, which is made (mode 0600) when there is none."""
    if not path.exists():
        public, secret = crypto_sign_seed_keypair(os.urandom(32))
        document = {"priv_key": {"type": _PRIVATE_TYPE, "value": base64.b64encode(secret).decode()}}
        make_folders(path.parent, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(document) + "\n")
            file.flush()
            os.fsync(file.fileno())
    else:
        try:
            secret = base64.b64decode(json.loads(path.read_bytes())["priv_key"]["value"], validate=True)
            public, _ = crypto_sign_seed_keypair(secret[:32])
        except (ValueError, KeyError, TypeError) as error:
            raise EngineError(
                "engine.key", f"the node key {path} is damaged", hint="delete it: peers learn the new one"
            ) from error
    return validator_address(public).hex()
