//! The vectors that all implementations read: files of JSON in wire/vectors.

use serde_json::Value;

/// The file of this name.
pub fn vectors(file: &str) -> Value {
    let path = format!("{}/../../wire/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the vectors are part of the repository");
    serde_json::from_str(&text).expect("JSON")
}

/// A list in it, which is not empty.
pub fn cases(vectors: &Value, list: &str) -> Vec<Value> {
    let cases = vectors[list].as_array().expect("a list").clone();
    assert!(!cases.is_empty());
    cases
}

/// What is written in hexadecimal.
pub fn octets(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal text");
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits"))
        .collect()
}
