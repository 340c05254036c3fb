//! What a member in an inner zone can reach on a real engine: only its neighbours.
