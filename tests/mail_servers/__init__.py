"""Debian's Postfix, Exim and OpenSMTPD, each on a machine of its own, with the hosts that it speaks to.

The machine's network has no way out, changes of its file system are forgotten, and all names and addresses are those
that RFC 2606 and RFC 5737 keep for examples.
"""
