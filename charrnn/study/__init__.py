"""What recurrent designs can do: comparisons, long-term dependencies."""
