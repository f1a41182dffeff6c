"""Where rows come from: a file a data set, each with one function that gives a `Table`."""
