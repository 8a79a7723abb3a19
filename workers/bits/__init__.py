"""Other weight bits for a trained network: how it is rebuilt with them, and how much each layer minds."""
