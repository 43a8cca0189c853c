//! RESP2 and RESP3: requests, inline commands, replies.
