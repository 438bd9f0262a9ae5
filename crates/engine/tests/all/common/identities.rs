//! Who a server says it is: certificates for `localhost`, made anew for each test.

use legato_engine::{fingerprint, Identity};

/// An identity and the hash of its certificate.
pub fn identity() -> (Identity, [u8; 32]) {
    identity_valid(-1, 10)
}

/// An identity that is valid from and until this many days from now.
pub fn identity_valid(first: i64, last: i64) -> (Identity, [u8; 32]) {
    let day = |days: i64| {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let days = now.as_secs() as i64 / 86_400 + days;
        let (year, month, day) = civil(days);
        rcgen::date_time_ymd(year, month, day)
    };
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = day(first);
    params.not_after = day(last);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let der = certificate.der().to_vec();
    let hash = fingerprint(&der);
    (
        Identity {
            certificate_chain: vec![der],
            private_key: key.serialize_der(),
        },
        hash,
    )
}

fn civil(days: i64) -> (i32, u8, u8) {
    let mut year = 1970;
    let mut left = days;
    let leap = |year: i32| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let months = [
        31,
        if leap(year) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 0;
    while left >= months[month] {
        left -= months[month];
        month += 1;
    }
    (year, month as u8 + 1, left as u8 + 1)
}
