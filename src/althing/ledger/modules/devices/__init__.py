"""Devices: registration, state, gateway binding and metadata."""
