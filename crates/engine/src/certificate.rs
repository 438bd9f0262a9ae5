//! The two facts about an X.509 certificate that pinning needs: its hash and its validity period (RFC 5280 §4.1).
//!
//! Owns a minimal DER walk over attacker-supplied bytes: bounded, no recursion, no allocation. Must not judge trust.

use std::ops::RangeInclusive;

const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// SHA-256 of the whole certificate in DER, as WebTransport's `serverCertificateHashes` takes it.
pub fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// First and last second (since 1970, UTC) at which the certificate is valid; None if it cannot be read.
pub fn validity(certificate: &[u8]) -> Option<RangeInclusive<i64>> {
    let mut outer = Reader(certificate);
    let mut body = Reader(outer.expect(SEQUENCE)?);
    let mut fields = Reader(body.expect(SEQUENCE)?);
    if fields.peek()? == CONTEXT_0 {
        fields.expect(CONTEXT_0)?; // version
    }
    fields.expect(INTEGER)?; // serial number
    fields.expect(SEQUENCE)?; // signature algorithm
    fields.expect(SEQUENCE)?; // issuer
    let mut period = Reader(fields.expect(SEQUENCE)?);
    let first = period.time()?;
    let last = period.time()?;
    Some(first..=last)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 || rest.len() < count {
                return None;
            }
            let (digits, tail) = rest.split_at(count);
            rest = tail;
            digits
                .iter()
                .fold(0usize, |sum, &digit| (sum << 8) | usize::from(digit))
        };
        if rest.len() < length {
            return None;
        }
        let (value, tail) = rest.split_at(length);
        self.0 = tail;
        Some((tag, value))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, value) = self.element()?;
        (found == tag).then_some(value)
    }

    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.element()?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let year = digits(text.get(..2)?)?;
                (
                    if year < 50 { 2000 + year } else { 1900 + year },
                    &text[2..],
                )
            }
            GENERALIZED_TIME => (digits(text.get(..4)?)?, &text[4..]),
            _ => return None,
        };
        if rest.len() != 11 || rest[10] != b'Z' {
            return None;
        }
        let part = |at: usize| digits(&rest[at..at + 2]);
        let (month, day) = (part(0)?, part(2)?);
        let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
        if !(1..=12).contains(&month)
            || !(1..=31).contains(&day)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return None;
        }
        Some(((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0i64, |sum, &digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

/// Days in the proleptic Gregorian calendar, counting years from March so that leap days come last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 306 + 5) / 10 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, value: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        if value.len() < 0x80 {
            out.push(value.len() as u8);
        } else {
            out.extend([0x82, (value.len() >> 8) as u8, value.len() as u8]);
        }
        out.extend(value);
        out
    }

    fn certificate(first: (u8, &str), last: (u8, &str)) -> Vec<u8> {
        let period = [
            element(first.0, first.1.as_bytes()),
            element(last.0, last.1.as_bytes()),
        ]
        .concat();
        let fields = [
            element(CONTEXT_0, &element(INTEGER, &[2])),
            element(INTEGER, &[1]),
            element(SEQUENCE, &[]),
            element(SEQUENCE, &[0; 200]),
            element(SEQUENCE, &period),
        ]
        .concat();
        element(SEQUENCE, &element(SEQUENCE, &fields))
    }

    #[test]
    fn reads_both_time_formats() {
        let der = certificate(
            (UTC_TIME, "700101000000Z"),
            (GENERALIZED_TIME, "20380119031408Z"),
        );
        assert_eq!(validity(&der), Some(0..=1 << 31));
    }

    #[test]
    fn knows_leap_years_and_centuries() {
        let der = certificate(
            (UTC_TIME, "000229235959Z"),
            (GENERALIZED_TIME, "21000301000000Z"),
        );
        assert_eq!(validity(&der), Some(951_868_799..=4_107_542_400));
    }

    #[test]
    fn every_truncation_is_refused() {
        let der = certificate((UTC_TIME, "700101000000Z"), (UTC_TIME, "380119031408Z"));
        assert!(validity(&der).is_some());
        for length in 0..der.len() {
            assert_eq!(validity(&der[..length]), None, "{length}");
        }
    }

    #[test]
    fn nonsense_times_are_refused() {
        for text in [
            "701301000000Z",
            "700100000000Z",
            "700101240000Z",
            "7001010000000",
            "70010100000aZ",
            "",
        ] {
            let der = certificate((UTC_TIME, text), (UTC_TIME, "380119031408Z"));
            assert_eq!(validity(&der), None, "{text}");
        }
    }
}
