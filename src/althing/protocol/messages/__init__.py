"""Messages of transactions, one file a ledger module."""
