"""A media node: one Python process for sessions, and a native thread for packets."""
