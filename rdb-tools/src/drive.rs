//! Pushes an input through the RDB decoder into a sink.

use std::io;

use cairn_engine::codec::rdb::{Decoder, Error, Failure, Sink, State};

use crate::input::Input;
use crate::progress::Progress;

/// Why an input could not be read to its end.
#[derive(Debug)]
pub enum Stop<E> {
    /// The system could not read it.
    Read(io::Error),
    /// Its bytes are wrong.
    Format(Error),
    /// The sink did not want to go on.
    Sink(E),
}

/// Decodes from the input's position to the end of the RDB file in it; what follows is left.
///
/// # Errors
/// [`Stop`]; the input's position is then at the last whole unit.
pub fn drive<S: Sink>(
    input: &mut Input,
    decoder: &mut Decoder,
    progress: &Progress,
    sink: &mut S,
) -> Result<(), Stop<S::Error>> {
    let mut at_least = 1;
    loop {
        input.fill(at_least).map_err(Stop::Read)?;
        let step = decoder.advance(input.bytes(), input.is_last(), sink);
        let step = step.map_err(|failure| match failure {
            Failure::Format(error) => Stop::Format(error),
            Failure::Sink(error) => Stop::Sink(error),
        })?;
        input.consume(step.consumed);
        progress.at(input.position());
        match step.state {
            State::Done => return Ok(()),
            State::More { at_least: needed } => at_least = needed,
        }
    }
}
