"""A light node: verified answers about a chain for the programs of one machine, without keeping the chain."""
