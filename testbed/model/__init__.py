"""What the user declares: topologies and scenarios, loaded, checked and frozen."""
