"""Units of account: issued by organisations, transferred, frozen, locked in escrow."""
