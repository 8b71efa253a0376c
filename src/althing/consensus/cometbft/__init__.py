"""CometBFT as an engine: its home, its process, the ABCI server it calls, and what its RPC says."""
