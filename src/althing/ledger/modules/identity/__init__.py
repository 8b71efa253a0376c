"""Accounts, their keys, rotation, suspension, and who may act for an organisation."""
