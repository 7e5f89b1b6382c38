"""Facts as text and tables, made safe for a terminal; also what `print` shows in a notebook."""
