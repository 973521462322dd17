"""Models as files to deploy."""
