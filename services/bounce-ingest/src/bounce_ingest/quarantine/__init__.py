"""Keeps what cannot be placed, understood or trusted, until a person or a better rule has decided."""
