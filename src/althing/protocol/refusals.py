"""What the codes of receipts mean: a receipt carries its code alone, so that its bytes do not depend on wording.

Programs match on codes; people read these sentences, on the command line, in the SDK and in docs/reference/errors.md,
whose rows the tests compare with this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["MEANINGS", "Meaning", "meaning_of"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """Why a transaction was refused, and what to do about it; `hint` may be empty."""

    sentence: str
    hint: str = ""


MEANINGS: Final[dict[str, Meaning]] = {
    # The form of the transaction.
    "tx.form": Meaning("the payload is not an array of eight"),
    "tx.version": Meaning("the version of the transaction is unknown", "upgrade"),
    "tx.signers": Meaning("signers are not 1 to 16 addresses in ascending order"),
    "tx.payer": Meaning("the payer is not a signer"),
    "tx.range": Meaning("gas limit, fee or expiry is beyond 63 bits"),
    "tx.nonce": Meaning("the nonce has not 8 bytes"),
    "tx.messages": Meaning("the transaction has no messages, or more than 256", "split it"),
    "tx.message_form": Meaning("a message is not `[type, fields]`"),
    "tx.message_type": Meaning("the type of a message is not known", "upgrade, or check the name"),
    # Before it runs.
    "tx.expired": Meaning("ledger time has passed the transaction's expiry", "sign it anew"),
    "tx.expiry": Meaning("the expiry is too far ahead", "choose an earlier one; check the clock"),
    "tx.replayed": Meaning("the transaction was executed before", "nothing: it is done"),
    "tx.unknown_account": Meaning("a signer or the payer has no account", "create it first"),
    "tx.suspended": Meaning("an account or its organisation is not active", "its organisation, or governors, decide"),
    "tx.reader": Meaning("a reader's account sends nothing", "sign with an account of the organisation that writes"),
    "tx.keyless": Meaning("an account without keys cannot sign"),
    "tx.unknown_key": Meaning("a signature's key is not an active key of a signer", "was the key rotated?"),
    "tx.ambiguous_key": Meaning("two signers have different keys with one key id", "rotate one of them"),
    "tx.threshold": Meaning("a signer has fewer signatures than its account asks for", "collect more"),
    "tx.too_large": Meaning("the transaction has more bytes than the chain allows", "split it"),
    "tx.gas_limit": Meaning(
        "the gas limit is below what bytes and signatures cost, or beyond a block's", "choose another limit"
    ),
    "tx.fee": Meaning(
        "nothing takes fees here, or the fee is below gas limit × least price", "set the fee to 0, or offer more"
    ),
    "tx.fee_unpaid": Meaning("the payer cannot pay the fee", "offer less, or get more"),
    "tx.signature": Meaning("a signature does not verify", "signed for this chain?"),
    "tx.pending": Meaning("the transaction was not in a block yet when the time ran out", "ask for it by its id"),
    "quota.bytes": Meaning(
        "the organisation's bytes of this window are used up", "wait for the next window, or ask governors for more"
    ),
    "quota.gas": Meaning(
        "the organisation's gas of this window is used up", "wait for the next window, or ask governors for more"
    ),
    "bundle.node": Meaning("the bundle's maker is no active node"),
    "bundle.signature": Meaning("the bundle is not signed by its maker"),
    "bundle.stale": Meaning("all transactions of the bundle are executed or expired"),
    "bundle.gas": Meaning("the bundle wants more gas than a block may use", "make smaller bundles"),
    "bundle.refused": Meaning("the engine did not execute the bundle", "the text says why"),
    "pool.full": Meaning("the pool has no room", "later"),
    "pool.duplicate": Meaning("the item is in the pool or in a recent block already", "wait for its receipt"),
    "pool.gas": Meaning("the item wants more gas than a block may use"),
    "pool.tx_too_large": Meaning("the item is larger than any block allows"),
    # While it runs.
    "tx.out_of_gas": Meaning("the gas limit is used up", "raise the limit"),
    "auth.organisation": Meaning(
        "no signer may act for the organisation", "sign with its key, or with an account that has the role"
    ),
    "auth.governors": Meaning("too few governors signed", "collect more signatures"),
    "auth.account": Meaning("only the account itself may do this", "sign with the account's own key"),
    "auth.gateway": Meaning("an anchor is not signed by its gateway"),
    "governance.name_taken": Meaning("an organisation has this name", "choose another name"),
    "governance.unknown": Meaning("there is no such organisation"),
    "governance.threshold": Meaning(
        "fewer governors than must sign would remain, or so many could not sign one transaction"
    ),
    "governance.crossed": Meaning("the parameters have changed since", "read them again"),
    "governance.validator": Meaning(
        "there is no such validator, or the new key is one's already; in genesis: it is of an unknown organisation"
    ),
    "governance.last_validator": Meaning("the last validator cannot be removed", "add another one first"),
    "governance.quota": Meaning(
        "a governor would have no quota left for a decision", "at least 16,384 bytes and 1,000,000 gas"
    ),
    "governance.last_node": Meaning(
        "no active node with quota would remain to bundle anything", "make another one first"
    ),
    "governance.organisations": Meaning("there are 1,000 organisations"),
    "governance.parameters": Meaning("the parameters leave no room for a decision", "tx_bytes_max is at least 16,384"),
    "governance.fees": Meaning("this chain has nothing to pay fees in", "gas_price_min is 0"),
    "governance.kind": Meaning(
        "this kind of chain has no such decision",
        "private: one organisation writes; public: bonds decide on validators",
    ),
    "governance.bonded": Meaning("the organisation has a bond", "it leaves by unbonding"),
    "governance.validators": Meaning("there are 100 validators", "remove one first"),
    "governance.node": Meaning("a node of genesis names an unknown organisation"),
    "governance.upgrade": Meaning("no upgrade is scheduled, the notice is too short, or the rules are not newer"),
    "governance.validator_power": Meaning(
        "of four validators or more, one would be raised to a third of the power",
        "raise the others first, or in smaller steps",
    ),
    "governance.validator_barred": Meaning("evidence convicts this validator's key", "make a new key"),
    "governance.departures": Meaning(
        "200 validators' keys have left within the age of evidence", "wait until the oldest is forgotten"
    ),
    "governance.expires": Meaning("a proposal expires in the past, or more than 90 days ahead", "choose another time"),
    "governance.proposal_size": Meaning("a proposal's messages have more than 8,192 bytes", "make two proposals"),
    "governance.proposals": Meaning(
        "an organisation has 4 open proposals, or there are 64", "withdraw one, or wait until one expires"
    ),
    "governance.message": Meaning(
        "a proposed message is not a decision of these rules", "propose governance messages only"
    ),
    "governance.proposal": Meaning("there is no such open proposal", "`althing gov list` shows those there are"),
    "governance.content": Meaning("the vote is for another content", "read the proposal again"),
    "identity.exists": Meaning("there is an account at this address", "`althing account show`, or use another key"),
    "identity.unknown": Meaning("there is no account at this address", "create it first"),
    "identity.kind": Meaning("this is not for this kind of account", "organisations: governance; devices: `devices.*`"),
    "identity.closed": Meaning("a closed account stays closed", "create another one"),
    "identity.threshold": Meaning("the threshold is below 1, or beyond the keys that could sign"),
    "identity.duplicate_key": Meaning("a key is named twice"),
    "identity.known_key": Meaning("the key is in the record already", "make a new key: `althing key new`"),
    "identity.revoked_key": Meaning(
        "the key was compromised in this account before", "make a new key: `althing key new`"
    ),
    "identity.barred": Meaning("the governors have suspended this node", "they must wake it"),
    "identity.attributes": Meaning("the account would have more than 256 registers", "remove some"),
    "identity.unknown_key": Meaning("the key to end is not in the record"),
    "identity.valid_from": Meaning("a key cannot become valid in the past"),
    "identity.keys": Meaning("the record would have more than 16 keys, and too few have ended", "end some first"),
    "devices.name_taken": Meaning(
        "a device has this name", "choose another name; `althing device list` shows those there are"
    ),
    "devices.unknown": Meaning(
        "there is no such device", "`althing device list`, or register it: `althing device add`"
    ),
    "devices.retired": Meaning("a retired device stays retired", "register it under a new name"),
    "devices.gateway": Meaning("the gateway has no gateway account", "create it first: `althing gateway init`"),
    "devices.metadata": Meaning("the metadata have more than 4,096 bytes", "keep them elsewhere, and their hash here"),
    "streams.device": Meaning("there is no such device, or it is retired", "`althing device list`"),
    "streams.exists": Meaning(
        "the device has a stream of this name", "choose another name; `streams.update` changes a definition"
    ),
    "streams.unknown": Meaning("there is no such stream", "define it first: `althing stream define`"),
    "streams.too_large": Meaning("a definition has more than 65,536 bytes", "fewer quantities or mapped fields"),
    "streams.gateway": Meaning("the account is not a gateway's"),
    "streams.not_writer": Meaning("another gateway writes the stream", "hand it over"),
    "streams.sequence": Meaning(
        "this is not the stream's next sequence", "wait for the gateway's last anchor; a gap is never accepted"
    ),
    "streams.anchor_number": Meaning(
        "this is not the gateway's next anchor", "the gateway sets itself right; two gateways with one key?"
    ),
    "streams.anchor_table": Meaning("the entries are out of order, or do not cover the batch"),
    "assets.exists": Meaning("there is a unit of this symbol", "choose another symbol"),
    "assets.unknown": Meaning("there is no such unit", "`althing asset list` shows those there are"),
    "assets.account": Meaning("the account that would get it does not exist", "check the address"),
    "assets.cap": Meaning("there would be more of the unit than its cap allows"),
    "assets.balance": Meaning("the account has less than that"),
    "assets.frozen": Meaning("the unit, or the account's balance of it, is frozen by its issuer", "ask the issuer"),
    "assets.arbiters": Meaning("arbiters are not in order, or not as many as are needed"),
    "assets.timeout": Meaning("the timeout of an escrow is in the past", "choose a later ledger time"),
    "assets.escrow": Meaning("there is no such escrow, or it is settled"),
    "assets.settle": Meaning(
        "nobody who signs may settle the escrow so, or not yet", "its parties, its arbiters or its timeout decide"
    ),
    "staking.kind": Meaning(
        "nobody bonds on this chain", "only public chains have bonds: docs/concepts/kinds-of-chain.md"
    ),
    "staking.genesis": Meaning("allocations, validators and bonds of a genesis do not agree", "genesis.md, §1"),
    "staking.periods": Meaning(
        "bonds would not outlast evidence, or evidence not what light clients rely on",
        "unbonding_s ≥ evidence_age_s ≥ trusting_period_s",
    ),
    "staking.bond": Meaning("the organisation has bonded less than that"),
    "staking.bond_min": Meaning("the bond would be below the chain's least", "bond more, or take all of it"),
    "staking.unknown": Meaning(
        "the organisation is no member, or has bonded nothing", "`althing validator join`, `bond`"
    ),
    "staking.unbondings": Meaning("too many parts of the bond unbond already", "wait until one is released"),
    "staking.recipient": Meaning(
        "there is no such account, or it is of the organisation that leaves", "name another account"
    ),
    "staking.last_validator": Meaning("nobody with a bond would be left to validate"),
    "staking.key": Meaning(
        "the key is a validator's already, was named too recently, or evidence convicts it",
        "make a new one, or wait for an unbonding period",
    ),
    "staking.jailed": Meaning(
        "the organisation is not in jail, or has to stay there longer", "`althing validator status`"
    ),
    "staking.crossed": Meaning("the rules of bonds have changed since", "read them again"),
}


def meaning_of(code: str) -> Meaning:
    """The meaning of a receipt's code; for one of a newer chain, or of a fault of form, where it is documented."""
    return MEANINGS.get(code) or Meaning(
        "the ledger refused the transaction", "docs/reference/errors.md explains the code"
    )
