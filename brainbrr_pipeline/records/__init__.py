"""What is recorded in Dagster: partitions, data versions, code versions, events and metadata."""
