//! The system's random source. Owns nothing but the call; must not know what the octets are for.

/// Fresh octets that nobody can predict.
pub fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets)
        .expect("the system's random source never fails once it has started");
    octets
}
