"""The whole stack with a real mail server as its relay: run by `make peers`."""
