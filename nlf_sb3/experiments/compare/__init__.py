"""Compare methods of learning from an expert, on one task and by one measure."""
