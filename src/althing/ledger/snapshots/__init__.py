"""State-sync snapshots: the state at a height as chunks, and a ledger filled from them (docs/spec/snapshots.md)."""
