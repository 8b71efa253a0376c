"""Bonds: who joins a public chain, who validates, what evidence costs, and where fees go."""
