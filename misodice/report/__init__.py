"""What finished runs come to: statistics, tables, figures and one page."""
