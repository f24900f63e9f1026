"""How Azure routes: pure functions that cite the rules of docs/azure-routing.md by number."""
