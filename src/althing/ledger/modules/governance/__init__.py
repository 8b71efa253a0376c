"""Members, validators, parameters, quotas and upgrades: the rules of a chain and who changes them."""
