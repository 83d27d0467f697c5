//! Platforms as data: runtime class, policy carrier, reference values and what a guest enforces.
