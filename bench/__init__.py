"""The benchmark: `make bench`, or `python -m bench [area …]`. See README.md."""
