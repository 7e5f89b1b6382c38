"""Where tasks are performed: in this process, in several of their own, or on a Ray cluster."""
