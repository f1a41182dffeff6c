"""What runs leave behind: the folder of one, an index of many, and their comparison."""
