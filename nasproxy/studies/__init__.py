"""Rankings: Optuna studies being filled, by one driver or several."""
