"""Time to a given training loss: smaller batches, plans and the paper's methods."""
