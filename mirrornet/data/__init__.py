"""Shipped tables, each made by a script in scripts/ from a source that it names.  Values only; the lowest floor."""
