"""Generated from CometBFT's .proto files by scripts/make_protobuf.py; not for editing."""
