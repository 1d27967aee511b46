"""Load generators and reports: `lectern bench NAME` runs one of them.

`registry` names them, each is a module with a `BENCHMARK`, `command` runs it, and what it found goes into a
`Report`, which `render` turns into a line of JSON, a table for people, or Markdown with plots.
"""
