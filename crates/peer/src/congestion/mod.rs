//! Congestion control: how much may be sent, from what the other side says of each packet.
//!
//! Pure: time is an argument. [`feedback`] remembers what left and reads the transport-wide reports,
//! [`acked`] measures what arrives, [`delay`] sees queues grow, [`loss`] tells congestion from a lossy link,
//! [`contest`] whether a queue is somebody else's, [`word`] what it means that none comes, [`estimator`] makes one rate of them. Rates are in bits a second of whole IP packets.

mod acked;
mod contest;
mod delay;
mod estimator;
mod feedback;
mod loss;
#[cfg(test)]
mod tests;
mod word;

pub(crate) use estimator::Estimator;
pub(crate) use feedback::{Departure, Outcome, SentHistory};
pub(crate) use word::Word;
