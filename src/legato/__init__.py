"""legato: voice AI over QUIC."""
