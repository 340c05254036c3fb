//! The reader on hellos built by hand, cut at every byte, split into records, and on noise.

use proptest::prelude::*;

use super::*;

fn vector(width: usize, body: &[u8]) -> Vec<u8> {
    let length = body.len().to_be_bytes();
    [&length[length.len() - width..], body].concat()
}

fn sni_extension(name: &str) -> Vec<u8> {
    let entry = [&[0][..], &vector(2, name.as_bytes())].concat();
    [&[0, 0][..], &vector(2, &vector(2, &entry))].concat()
}

fn message(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(vector(1, &[9; 32]));
    body.extend(vector(2, &[0x13, 1, 0x13, 2]));
    body.extend(vector(1, &[0]));
    body.extend(vector(2, extensions));
    [&[1][..], &vector(3, &body)].concat()
}

fn records(message: &[u8], fragment: usize) -> Vec<u8> {
    message.chunks(fragment).flat_map(|part| [&[22, 3, 1][..], &vector(2, part)].concat()).collect()
}

fn hello(name: &str) -> Vec<u8> {
    let other = [&[0, 43][..], &vector(2, &[2, 3, 4])].concat();
    records(&message(&[other, sni_extension(name)].concat()), 16_384)
}

fn complete(name: &str) -> Hello {
    Hello::Complete { server_name: Some(name.to_owned()) }
}

#[test]
fn the_name_is_found_and_every_prefix_is_incomplete() {
    let bytes = hello("api.example.test");
    assert_eq!(read(&bytes), complete("api.example.test"));
    for end in 0..bytes.len() {
        assert_eq!(read(&bytes[..end]), Hello::Incomplete, "{end}");
    }
}

#[test]
fn fragments_are_joined() {
    let message = message(&sni_extension("a.test"));
    for size in [1, 2, 3, 5, 50] {
        assert_eq!(read(&records(&message, size)), complete("a.test"), "{size}");
    }
}

#[test]
fn no_name_is_told_apart_from_nonsense() {
    assert_eq!(read(&records(&message(&[]), 999)), Hello::Complete { server_name: None });
    let twice = [sni_extension("a.test"), sni_extension("b.test")].concat();
    for bytes in [
        records(&message(&twice), 999),
        records(&message(&sni_extension("")), 999),
        records(&message(&sni_extension("a\0.test")), 999),
        records(&message(&[0, 0, 0, 9]), 999),
        b"GET / HTTP/1.1\r\n".to_vec(),
        b"SSH-2.0-x\r\n".to_vec(),
        vec![22, 3, 1, 0, 0],
        vec![22, 3, 1, 0xff, 0xff],
        vec![22, 2, 0],
        vec![22, 3, 1, 0, 4, 2, 0, 0, 0],
        vec![22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff],
    ] {
        assert_eq!(read(&bytes), Hello::Malformed, "{bytes:x?}");
    }
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
        let _ = read(&[&[22, 3, 1], &bytes[..]].concat());
    }

    #[test]
    fn a_flipped_byte_never_panics(at in 0_usize..140, value: u8) {
        let mut bytes = hello("api.example.test");
        let index = at % bytes.len();
        bytes[index] = value;
        let _ = read(&bytes);
    }
}
