"""What stored facts amount to: rates, intervals, comparisons, doubts."""
