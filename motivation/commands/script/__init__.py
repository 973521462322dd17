"""Files that other processes run by their path; alone in a folder, which Python puts first on the path of modules."""
