"""The demo: a chain, a gateway and simulated devices on this machine, from nothing to verified proofs."""
