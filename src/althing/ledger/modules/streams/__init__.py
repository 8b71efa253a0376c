"""Streams: definitions, the writing gateway, anchors, and the log of each stream's anchor rows."""
