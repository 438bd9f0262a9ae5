//! QPACK without a dynamic table (RFC 9204): both sides announce a capacity of 0, so that a header block stands alone.
//!
//! Owns the field line representations and the two instruction streams as far as a capacity of 0 allows anything on
//! them. Must not know what a field means.

mod huffman;
mod static_table;

use bytes::{Buf, Bytes};

use crate::error::{
    Fault, QPACK_DECODER_STREAM_ERROR, QPACK_DECOMPRESSION_FAILED, QPACK_ENCODER_STREAM_ERROR,
};
use static_table::ROWS;

/// What RFC 9114 §4.2.2 adds to name and value when it measures a field.
const FIELD_OVERHEAD: usize = 32;

/// A decoded field line; not yet checked for anything.
pub(crate) type Line = (Vec<u8>, Vec<u8>);

const fn failed(reason: &'static str) -> Fault {
    Fault::connection(QPACK_DECOMPRESSION_FAILED, reason)
}

const CUT_SHORT: Fault = failed("header block cut short");
const DYNAMIC: Fault = failed("header block refers to the dynamic table");

/// An integer behind the prefix bits of `first` (RFC 7541 §5.1), below 2^62.
fn integer(first: u8, prefix: u32, block: &mut Bytes) -> Result<u64, Fault> {
    let mask = (1u64 << prefix) - 1;
    let mut value = u64::from(first) & mask;
    if value < mask {
        return Ok(value);
    }
    for shift in (0..=56).step_by(7) {
        let byte = block.try_get_u8().map_err(|_| CUT_SHORT)?;
        value += u64::from(byte & 0x7f) << shift;
        if value > crate::varint::MAX {
            break;
        }
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(failed("an integer is too large"))
}

/// A string whose Huffman flag stands right above the `prefix` length bits of `first` (RFC 9204 §4.1.2).
fn string(first: u8, prefix: u32, block: &mut Bytes, limit: usize) -> Result<Vec<u8>, Fault> {
    let length = integer(first, prefix, block)?;
    let length = usize::try_from(length)
        .ok()
        .filter(|&length| length <= block.len());
    let coded = block.split_to(length.ok_or(CUT_SHORT)?);
    let huffman = first >> prefix & 1 == 1;
    // The longest code has 30 bits, so even the densest reading would be over the limit.
    if coded.len()
        > limit
            .saturating_mul(if huffman { 30 } else { 8 })
            .div_ceil(8)
    {
        return Err(Fault::HeaderBlockTooLarge);
    }
    if huffman {
        huffman::decode(&coded).ok_or(failed("a string is not valid Huffman code"))
    } else {
        Ok(coded.to_vec())
    }
}

fn static_row(index: u64) -> Result<(&'static str, &'static str), Fault> {
    let row = usize::try_from(index)
        .ok()
        .and_then(|index| ROWS.get(index));
    row.copied()
        .ok_or(failed("no such row in the static table"))
}

/// Decodes a header block; `limit` bounds the decoded size as RFC 9114 §4.2.2 measures it.
pub(crate) fn decode(mut block: Bytes, limit: usize) -> Result<Vec<Line>, Fault> {
    let first = block.try_get_u8().map_err(|_| CUT_SHORT)?;
    if integer(first, 8, &mut block)? != 0 {
        return Err(DYNAMIC);
    }
    let base = block.try_get_u8().map_err(|_| CUT_SHORT)?;
    if base & 0x80 != 0 {
        return Err(failed("a negative base"));
    }
    integer(base, 7, &mut block)?;
    let mut lines = Vec::new();
    let mut budget = limit;
    while block.has_remaining() {
        let (name, value) = line(&mut block, budget)?;
        let size = name.len() + value.len() + FIELD_OVERHEAD;
        budget = budget.checked_sub(size).ok_or(Fault::HeaderBlockTooLarge)?;
        lines.push((name, value));
    }
    Ok(lines)
}

/// One field line representation (RFC 9204 §4.5).
fn line(block: &mut Bytes, limit: usize) -> Result<Line, Fault> {
    let first = block.get_u8();
    if first & 0x80 != 0 {
        // Indexed field line.
        let index = integer(first, 6, block)?;
        if first & 0x40 == 0 {
            return Err(DYNAMIC);
        }
        let (name, value) = static_row(index)?;
        return Ok((name.into(), value.into()));
    }
    let name = if first & 0x40 != 0 {
        // Literal field line with name reference.
        let index = integer(first, 4, block)?;
        if first & 0x10 == 0 {
            return Err(DYNAMIC);
        }
        static_row(index)?.0.into()
    } else if first & 0x20 != 0 {
        // Literal field line with literal name.
        string(first, 3, block, limit)?
    } else {
        // Both post-base forms.
        return Err(DYNAMIC);
    };
    let first = block.try_get_u8().map_err(|_| CUT_SHORT)?;
    let value = string(first, 7, block, limit)?;
    Ok((name, value))
}

/// Encodes a header block.
pub(crate) fn encode<'a>(lines: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    // Required insert count 0, base 0.
    let mut out = vec![0, 0];
    for (name, value) in lines {
        let exact = ROWS
            .iter()
            .position(|row| row.0 == name && row.1.as_bytes() == value);
        if let Some(index) = exact {
            put_integer(0xc0, 6, index, &mut out);
            continue;
        }
        match ROWS.iter().position(|row| row.0 == name) {
            Some(index) => put_integer(0x50, 4, index, &mut out),
            None => put_string(0x20, 3, name.as_bytes(), &mut out),
        }
        put_string(0x00, 7, value, &mut out);
    }
    out
}

fn put_integer(flags: u8, prefix: u32, value: usize, out: &mut Vec<u8>) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_string(flags: u8, prefix: u32, plain: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::encoded_length(plain);
    if coded < plain.len() {
        put_integer(flags | 1 << prefix, prefix, coded, out);
        huffman::encode(plain, out);
    } else {
        put_integer(flags, prefix, plain.len(), out);
        out.extend_from_slice(plain);
    }
}

/// Reads the peer's encoder stream (RFC 9204 §4.3). With a capacity of 0 the one instruction left is to set it to 0.
pub(crate) fn read_encoder_stream(chunk: &[u8]) -> Result<(), Fault> {
    if chunk.iter().any(|&byte| byte != 0x20) {
        let reason = "an instruction for a dynamic table of no capacity";
        return Err(Fault::connection(QPACK_ENCODER_STREAM_ERROR, reason));
    }
    Ok(())
}

/// Reads the peer's decoder stream (RFC 9204 §4.4), on which only stream cancellations make sense.
#[derive(Debug, Default)]
pub(crate) struct DecoderStream {
    /// Bytes seen of an unfinished cancellation.
    unfinished: u8,
}

impl DecoderStream {
    pub(crate) fn read(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        let wrong = |reason| Err(Fault::connection(QPACK_DECODER_STREAM_ERROR, reason));
        for &byte in chunk {
            if self.unfinished == 0 {
                if byte & 0xc0 != 0x40 {
                    return wrong("an acknowledgement of something never sent");
                }
                self.unfinished = u8::from(byte & 0x3f == 0x3f);
            } else if byte & 0x80 == 0 {
                self.unfinished = 0;
            } else if self.unfinished == 9 {
                return wrong("an integer is too large");
            } else {
                self.unfinished += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
