//! The integration tests of the server: real sockets and processes.
