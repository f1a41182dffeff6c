"""Files as columns: CSV, JSON, Parquet or Excel, and how the cells of each column are read."""
