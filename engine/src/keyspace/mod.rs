//! Databases, and what acts on them.
