"""The network's benchmark: our ledger on CometBFT beside CometBFT's own key-value application, and the embedded engine."""
