"""From the text of a suite to the plan of a run."""
