"""A first config for images that nobody has described: found, looked at, and written with a comment on every choice."""
