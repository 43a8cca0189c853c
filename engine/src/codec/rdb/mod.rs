//! The RDB format, written down once.
