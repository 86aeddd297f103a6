"""Records in Dagster: partitions, data versions, code versions, events and metadata."""
