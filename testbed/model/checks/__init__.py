"""The checks of a topology, one module a subject; each yields findings for one kind of mistake."""
