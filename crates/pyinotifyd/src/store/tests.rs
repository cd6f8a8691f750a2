//! What holds of the store as a whole.
