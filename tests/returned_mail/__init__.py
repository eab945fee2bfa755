"""Reports that real mail servers write, made anew by `make returned-mail` and kept in tests/data/servers."""
