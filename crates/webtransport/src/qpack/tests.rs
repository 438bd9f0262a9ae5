//! Header blocks as literal bytes.

use super::*;
use proptest::prelude::*;

fn lines(block: &[u8]) -> Result<Vec<(String, String)>, Fault> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let decoded = decode(Bytes::copy_from_slice(block), 4096)?;
    Ok(decoded
        .into_iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect())
}

fn one(block: &[u8], name: &str, value: &str) {
    assert_eq!(lines(block), Ok(vec![(name.into(), value.into())]));
}

/// RFC 9204 §B.1, which uses the static table only.
#[test]
fn the_example_of_the_rfc() {
    let block = b"\x00\x00\x51\x0b/index.html";
    one(block, ":path", "/index.html");
}

#[test]
fn each_representation() {
    one(&[0, 0, 0xc0 | 15], ":method", "CONNECT");
    one(&[0, 0, 0xff, 98 - 63], "x-frame-options", "sameorigin");
    one(&[0, 0, 0x5f, 90 - 15, 1, b'o'], "origin", "o");
    one(&[0, 0, 0x7f, 75, 1, b'o'], "origin", "o");
    one(
        &[0, 0, 0x23, b'a', b'-', b'b', 0x02, b'c', b'd'],
        "a-b",
        "cd",
    );
    one(&[0, 0, 0x33, b'a', b'-', b'b', 0x00], "a-b", "");
    // The same name and value as Huffman code, RFC 7541 §C.4.3.
    let huffman = [
        0, 0, 0x2f, 0x01, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f, 0x89, 0x25, 0xa8, 0x49,
        0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf,
    ];
    one(&huffman, "custom-key", "custom-value");
}

#[test]
fn an_empty_block_has_no_fields() {
    assert_eq!(lines(&[0, 0]), Ok(vec![]));
    assert_eq!(
        lines(&[0, 0x05]),
        Ok(vec![]),
        "any base is fine while nothing refers to it"
    );
}

#[test]
fn anything_dynamic_is_refused() {
    let blocks: [&[u8]; 5] = [
        &[1, 0],
        &[0, 0, 0x80],
        &[0, 0, 0x40, 0],
        &[0, 0, 0x10],
        &[0, 0, 0x00, 0x00],
    ];
    for block in blocks {
        assert_eq!(lines(block), Err(DYNAMIC), "{block:x?}");
    }
    assert_eq!(lines(&[0, 0x80]), Err(failed("a negative base")));
}

#[test]
fn cut_short() {
    let whole = [
        0, 0, 0x5f, 75, 0x82, 0x64, 0x02, 0x23, b'a', b'-', b'b', 0x02, b'c', b'd',
    ];
    let between_lines = [2, 7];
    for end in 0..whole.len() {
        assert_eq!(
            lines(&whole[..end]).is_ok(),
            between_lines.contains(&end),
            "{end}"
        );
    }
}

#[test]
fn integers_and_indexes_out_of_range() {
    assert!(lines(&[0, 0, 0xff, 99 - 63]).is_err());
    assert!(
        lines(&[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err()
    );
    assert!(lines(&[0, 0, 0x27, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
    assert!(
        lines(&[0, 0, 0x50, 0x81, 0x00]).is_err(),
        "zero padding in Huffman code"
    );
}

#[test]
fn the_decoded_size_is_bounded() {
    let mut block = vec![0, 0];
    block.extend([0xc0 | 15; 100]);
    let each = ":method".len() + "CONNECT".len() + 32;
    assert_eq!(
        decode(block.clone().into(), 100 * each).map(|lines| lines.len()),
        Ok(100)
    );
    assert_eq!(
        decode(block.into(), 100 * each - 1),
        Err(Fault::HeaderBlockTooLarge)
    );
    let mut long = vec![0, 0, 0x51, 0x7f, 0xff - 0x7f, 0x01];
    long.extend([b'/'; 255]);
    assert_eq!(decode(long.into(), 100), Err(Fault::HeaderBlockTooLarge));
}

#[test]
fn encoding_a_connect_request() {
    let fields: [(&str, &[u8]); 5] = [
        (":method", b"CONNECT"),
        (":scheme", b"https"),
        (":authority", b"a"),
        (":path", b"/"),
        (":protocol", b"webtransport"),
    ];
    let expected = [
        0x00, 0x00, // no dynamic table
        0xcf, // :method CONNECT
        0xd7, // :scheme https
        0x50, 0x01, b'a', // :authority, literal value
        0xc1, // :path /
        0x2f, 0x00, 0xb9, 0x58, 0xd3, 0x3f, 0x89, 0x62, 0xc9, 0x4d,
        0x43, // :protocol, Huffman
    ];
    let block = encode(fields.into_iter());
    assert_eq!(block[..8], expected[..8]);
    let back = decode(block.into(), 4096).unwrap();
    assert!(back
        .iter()
        .map(|(n, v)| (&n[..], &v[..]))
        .eq(fields.iter().map(|(n, v)| (n.as_bytes(), *v))));
}

#[test]
fn the_instruction_streams() {
    assert_eq!(read_encoder_stream(&[0x20, 0x20]), Ok(()));
    for byte in [0x21, 0x3f, 0x80, 0xc0, 0x40, 0x00] {
        assert!(read_encoder_stream(&[byte]).is_err());
    }
    let mut stream = DecoderStream::default();
    for byte in [0x40, 0x44, 0x7f, 0x80, 0x00, 0x7f, 0x05] {
        assert_eq!(stream.read(&[byte]), Ok(()));
    }
    assert!(stream.read(&[0x80]).is_err(), "section acknowledgement");
    assert!(
        DecoderStream::default().read(&[0x01]).is_err(),
        "insert count increment"
    );
    let endless = [[0x7f].as_slice(), &[0xff; 20]].concat();
    assert!(DecoderStream::default().read(&endless).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_encoded_comes_back(
        fields in prop::collection::vec((":?[a-z-]{1,30}", prop::collection::vec(any::<u8>(), 0..300)), 0..12)
    ) {
        let block = encode(fields.iter().map(|(name, value)| (&name[..], &value[..])));
        let back = decode(block.into(), 1 << 20).unwrap();
        let expected: Vec<Line> =
            fields.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn any_bytes_are_survived(block in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(lines) = decode(block.into(), 2000) {
            let size: usize = lines.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
            prop_assert!(size <= 2000);
        }
    }
}
