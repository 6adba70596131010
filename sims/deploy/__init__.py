"""Real federations: keys and certificates, bundles for devices, a server, its nodes."""
