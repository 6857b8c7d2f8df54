"""Many trials: what to try, what to stop, and a record that no crash can harm."""
