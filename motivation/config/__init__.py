"""Reading, checking and building a config; every mistake is reported in one sentence."""
