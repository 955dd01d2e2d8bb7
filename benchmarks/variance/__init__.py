"""Programs that measure the variance of gradient estimators."""
