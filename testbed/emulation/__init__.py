"""The effects: namespaces, Open vSwitch, daemons, the ledger, and labd that owns them."""
