"""The optimizer of each model: how it is built, and how it takes a step."""
