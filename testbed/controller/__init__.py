"""The SDN controller: BMP in, OpenFlow out; it programs what live BGP sessions told it and nothing else."""
