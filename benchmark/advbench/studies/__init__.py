"""Papers reproduced: suites run, stored facts analysed, numbers set beside the published ones, claims judged."""
