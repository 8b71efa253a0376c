"""Options that many commands share, and what they stand for: a home, its node, the administrator's key."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from althing.cli.connection import shown_token, trusted_certificates
from althing.cli.guard import JsonOption, guarded
from althing.client import Client, Signer, load_key, load_signer
from althing.client.errors import ClientError
from althing.gateway.config import GatewayPaths
from althing.node.config import read_config
from althing.node.home import Home, HomeError
from althing.protocol.address import address_of_key
from althing.protocol.errors import UnavailableError
from althing.protocol.genesis import genesis_hash
from althing.protocol.messages.governance import PrivateChain
from althing.protocol.readticket import make_read_ticket

__all__ = [
    "DEFAULT_HOME",
    "HomeOption",
    "JsonOption",
    "KeyOption",
    "NodeOption",
    "YesOption",
    "admin_signer",
    "confirm",
    "gateway_address",
    "guarded",
    "open_client",
    "require_home",
]

DEFAULT_HOME: Final = Path.home() / ".althing"
_TICKET_S: Final = 3600  # a command takes no longer

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home", envvar="ALTHING_HOME", help="Folder of the chain on this machine.", show_default="~/.althing"
    ),
]
NodeOption = Annotated[str, typer.Option("--node", help="Address of a node's API; default: that of the home.")]
KeyOption = Annotated[
    Path | None, typer.Option("--key", help="Key file to sign with; default: the home's administrator.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def require_home(home: Path) -> Home:
    """The home of a chain, or HomeError: before anything else is missed or made in a folder that is none."""
    place = Home(home)
    if not place.genesis_file.exists():
        raise HomeError(
            "home.missing", f"there is no chain at {home}", hint="start one: althing demo; or name another: --home"
        )
    return place


def gateway_address(home: Path) -> bytes:
    """The address of the home's gateway, which writes the streams that are defined from here."""
    path = GatewayPaths(require_home(home).path).key
    if not path.exists():
        raise ClientError("key.missing", f"{home} has no gateway yet", hint="make one: althing gateway init")
    held = load_key(path)
    return address_of_key(held.suite, held.public)


def admin_signer(home: Path, key: Path | None) -> Signer:
    """The account to sign with; an encrypted key takes its passphrase from ALTHING_PASSPHRASE."""
    if key is None:
        require_home(home)
    return load_signer(key or Home(home).admin_key_file, passphrase=os.environ.get("ALTHING_PASSPHRASE"))


def open_client(home: Path, node: str = "", *, signer: Signer | None = None) -> Client:
    """A client of the node named, or of the one that this home's ports.json names, trusting the home's trust file."""
    place = Home(home)
    url = node or str(place.ports().get("api", ""))
    if not url:
        require_home(home)
        raise UnavailableError("node.unavailable", "this home's node has never run", hint="althing node start")
    trust = place.trust_file if place.trust_file.exists() else None
    # The token of the home's own node is for that node alone.
    own = None if node or not place.genesis_file.exists() else read_config(home).api.token_file
    token = shown_token(own) or _ticket(place, signer)
    client = Client(url, trust=trust, signer=signer, token=token, verify=trusted_certificates())
    try:
        # A port that this home once used may be another chain's by now; and a node that is away is told at once.
        answered = client.get("status")["genesis_hash"]
        if answered != client.trust.genesis_hash.hex():
            raise UnavailableError(
                "node.unavailable",
                f"the node at {url} is of another chain",
                hint="start this home's: althing node start",
            )
    except BaseException:
        client.close()
        raise
    return client


def confirm(home: Path, what: str, *, yes: bool) -> None:
    """Have the chain named, or HomeError `home.not_confirmed`; nothing is asked where nobody is there to answer."""
    chain = Home(home).genesis().chain_id
    if yes:
        return
    try:
        answer = input(f"{what} Name the chain to go on: ")
    except EOFError:
        raise HomeError(
            "home.not_confirmed", "nothing was done: nobody is there to answer", hint="in scripts: --yes"
        ) from None
    if answer != chain:
        raise HomeError("home.not_confirmed", f"nothing was done: that is not {chain}")


def _ticket(place: Home, signer: Signer | None) -> str:
    """Where the home's chain lists its readers: a ticket of who signs, or of the home's administrator; else none ("")."""
    if not place.genesis_file.exists() or not isinstance(place.genesis().kind, PrivateChain):
        return ""
    if signer is None:
        if not place.admin_key_file.exists():
            return ""
        signer = admin_signer(place.path, None)
    now = int(time.time())
    return make_read_ticket(signer.keys[0], signer.address, genesis_hash(place.genesis()), now, now + _TICKET_S)
