"""The modules of the ledger. They never import each other; needs.py says what one asks of others."""
