"""What is wrong with a data set: the audit of `mmrun data check` and its parts."""
