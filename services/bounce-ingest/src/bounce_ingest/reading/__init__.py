"""The rooms of understanding: one kind of returned mail in each, all pure."""
