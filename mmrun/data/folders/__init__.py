"""What a path is: a table, or a folder or archive in one of the usual layouts, which becomes a sheet."""
