"""What every module runs on: the block's overlay, typed tables, gas, events, logs and replay protection."""
