"""Reports that real mail servers write, made anew by `make returned-mail` and kept in tests/data/servers.

Each server runs on a machine of its own: its network has no way out, changes of its file system are forgotten, and all
names and addresses are those that RFC 2606 and RFC 5737 keep for examples.
"""
