"""Targets made ready, cells crafted, judged and stored."""
