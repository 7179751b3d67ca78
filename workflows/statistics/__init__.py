"""Statistics as pure functions over outcomes; scipy and statsmodels do the mathematics."""
