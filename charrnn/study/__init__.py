"""What recurrent designs are made of and what they can do: unfolding, comparisons, long-term dependencies."""
