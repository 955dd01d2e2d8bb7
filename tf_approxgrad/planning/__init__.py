"""Plans: methods chosen by measured times and variances."""
