"""A robustness benchmark for image classifiers that strangers can extend and outsiders can trust."""
