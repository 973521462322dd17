"""The commands of the command line, a module each, which imports nothing heavy before it runs."""
