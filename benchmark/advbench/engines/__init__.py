"""Where tasks are performed: in this process, or in several of their own."""
