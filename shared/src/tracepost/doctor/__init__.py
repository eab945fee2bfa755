"""Looks at what DNS says of a sending domain, as receivers do, and tells what to publish in place of it."""
