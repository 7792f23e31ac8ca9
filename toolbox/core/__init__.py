"""What every study stands on: runs, tables, parameters, claims, figures, seeds, errors."""
