"""Looking for sub-networks in a trained super-network: costs, predictors, searches, exports."""
