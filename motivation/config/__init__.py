"""From a config file to built parts: what it may say, and one sentence for what is wrong with it."""
