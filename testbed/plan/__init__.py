"""What to build: the topology compiled to namespaces, links, addresses, files, daemons and flows; pure and deterministic."""
