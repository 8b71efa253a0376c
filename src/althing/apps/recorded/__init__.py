"""Recorded device data, replayed: the recordings of examples/, and simulated devices that send them with keys of their own."""
