"""Many runs: tasks, variants, methods and seeds on Ray."""
