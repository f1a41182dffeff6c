"""Raw values -> arrays, once: a file a kind, each with one class that fulfils `types.Preparer` and can be restored."""
