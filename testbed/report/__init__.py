"""What a run leaves for people: record.json, tables, plots, HTML."""
