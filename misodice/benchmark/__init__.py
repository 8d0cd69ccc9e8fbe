"""Many runs at once, and what they come to: statistics, tables, figures and the page."""
