"""What Dagster is told and remembers: partitions, versions, events and metadata."""
