//! The data types, each an enum over its encodings.
