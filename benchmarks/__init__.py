"""Programs that measure: `python -m benchmarks.FOLDER.PROGRAM` from the checkout."""
