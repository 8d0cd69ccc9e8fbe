"""Multi-agent MuJoCo."""
