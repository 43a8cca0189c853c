//! The append only file: records and the manifest.
