"""What is told of rankings: statistics, joined studies, words, figures, pages."""
