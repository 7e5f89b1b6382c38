"""What the pages show, read from the database: frozen dataclasses, no files, no markup."""
