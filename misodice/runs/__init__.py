"""What a run leaves behind: its folder, whole files, locks, fingerprints."""
