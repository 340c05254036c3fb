//! Wrapping, splitting and disguising: what must be found, and what must be left alone.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::super::custom::Validator;
use super::*;

fn github() -> String {
    // The last six characters are the CRC-32 of the thirty before them.
    ["gh", "p_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5", CRC].concat()
}

const CRC: &str = "0smkjE";

fn aws() -> String {
    ["AKIA", "2E0A8F3BI44C99QT"].concat()
}

fn scanner() -> Scanner {
    Scanner::new(Options::default()).unwrap()
}

fn names(text: impl AsRef<[u8]>) -> Vec<String> {
    scanner().scan(text.as_ref(), None).unwrap().into_iter().map(|finding| finding.name).collect()
}

fn encoding(text: impl AsRef<[u8]>) -> Option<&'static str> {
    scanner().scan(text.as_ref(), None).unwrap().first().map(|finding| finding.encoding)
}

#[test]
fn layers_of_encoding_are_undone() {
    let secret = format!("token={}", github());
    let base64 = STANDARD.encode(&secret);
    assert_eq!(encoding(&base64), Some("base64"));
    assert_eq!(encoding(URL_SAFE_NO_PAD.encode(&secret)), Some("base64"));
    assert_eq!(encoding(hex::encode(&secret)), Some("hex"));
    assert_eq!(encoding(secret.bytes().map(|b| format!("%{b:02X}")).collect::<String>()), Some("url"));
    assert_eq!(
        encoding(secret.chars().map(|c| format!("\\u{:04x}", c as u32)).collect::<String>()),
        Some("escape")
    );
    for twice in [STANDARD.encode(&base64), hex::encode(&base64), STANDARD.encode(hex::encode(&secret))] {
        assert_eq!(names(&twice), ["GitHub Token"], "{twice}");
        assert_eq!(names(STANDARD.encode(&twice)), ["GitHub Token"]);
    }
    let utf16: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(names(&utf16), ["GitHub Token"]);
    assert_eq!(names(STANDARD.encode(&utf16)), ["GitHub Token"]);
}

#[test]
fn a_shift_of_the_base64_does_not_hide() {
    let base64 = STANDARD.encode(github());
    for junk in ["", "a", "ab", "abc", "abcd"] {
        assert_eq!(names(format!("{junk}{base64}")), ["GitHub Token"], "{junk}");
    }
}

#[test]
fn disguises_are_folded() {
    let secret = github();
    let zero_width: String = secret.chars().flat_map(|c| [c, '\u{200b}']).collect();
    let spaced: String = secret.chars().flat_map(|c| [c, ' ']).collect();
    let lines = secret
        .as_bytes()
        .chunks(7)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect::<Vec<_>>();
    let full_width: String = secret.chars().map(|c| char::from_u32(c as u32 + 0xfee0).unwrap()).collect();
    for text in [
        zero_width,
        spaced,
        lines.join("\n"),
        lines.join("\r\n   "),
        full_width,
        secret.to_uppercase(),
        secret.to_lowercase(),
    ] {
        assert_eq!(names(&text), ["GitHub Token"], "{text}");
    }
    assert_eq!(names(aws().to_lowercase()), ["AWS Access ID"]);
    assert_eq!(names(aws().replace('I', "\u{406}")), ["AWS Access ID"]);
}

#[test]
fn a_wrong_checksum_does_not_let_a_plain_token_pass() {
    let forged = ["ghp_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5", "AAAAAA"].concat();
    assert_eq!(names(&forged), ["GitHub Token"]);
    // Only where the pieces had to be joined does it tell a token from its neighbours.
    assert!(names(forged.replace("g7", "g 7")).is_empty());
}

#[test]
fn core_rules_survive_and_named_rules_are_replaced() {
    let bare = Scanner::new(Options { include_defaults: false, patterns: Vec::new() }).unwrap();
    assert_eq!(bare.scan(github().as_bytes(), None).unwrap().len(), 1);
    let sendgrid = ["SG.", "a1B2c3D4e5F6g7H8i9J0k1.L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8c9D0e1F2g"].concat();
    assert!(bare.scan(sendgrid.as_bytes(), None).unwrap().is_empty());

    let warn = |name: &str, regex: &str| CustomPattern {
        name: name.into(),
        regex: regex.into(),
        severity: Severity::Low,
        validator: None,
        warn: true,
    };
    let patterns = vec![warn("SendGrid API Key", r"SG\.\S+"), warn("GitHub Token", r"ghp_\S+")];
    let softened = Scanner::new(Options { include_defaults: true, patterns }).unwrap();
    assert!(softened.scan(sendgrid.as_bytes(), None).unwrap().iter().all(|finding| finding.warn));
    assert!(softened.scan(github().as_bytes(), None).unwrap().iter().any(|finding| !finding.warn));
}

#[test]
fn exact_secrets_are_found_in_every_wrapping() {
    let secret = "correct.horse+battery/staple";
    let pattern = CustomPattern {
        name: "bottle secret".into(),
        regex: regex::escape(secret),
        severity: Severity::Critical,
        validator: None,
        warn: false,
    };
    let scanner = Scanner::new(Options { include_defaults: true, patterns: vec![pattern] }).unwrap();
    let found = |text: String| !scanner.scan(text.as_bytes(), None).unwrap().is_empty();
    assert!(found(format!("a {secret} b")));
    assert!(found(secret.to_uppercase()));
    assert!(found(STANDARD.encode(secret)));
    assert!(found(STANDARD.encode(format!("prefix {secret} suffix"))));
    assert!(found(hex::encode(secret)));
    assert!(found(secret.replace('.', ".\n")));
    assert!(found(
        percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string()
    ));
    assert!(!found("correct horse battery staple".into()));
}

#[test]
fn cards_deny_and_ibans_warn() {
    let found = scanner().scan(b"card 4111 1111 1111 1111, IBAN GB82WEST12345698765432", None).unwrap();
    let kinds: Vec<_> = found.iter().map(|finding| (finding.name.as_str(), finding.warn)).collect();
    assert_eq!(kinds, [("Credit Card Number", false), ("IBAN", true)]);
    assert_eq!(Validator::Luhn, Validator::Luhn);
}

#[test]
fn ordinary_text_is_left_alone() {
    let lock = r#"
        checksum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        integrity sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==
        resolved "https://registry.example.test/lodash/-/lodash-4.17.21.tgz#679591c564c3bffaae8454cf0b3df370c3d6911c"
    "#;
    let prose = "Tokens begin with ghp_ followed by thirty six characters; sk-ant- keys are longer. \
        Use git clone https://user:password@example.com/repo.git, or postgres://user:${PASSWORD}@localhost/db. \
        ASIA pacific headquarters, risk assessment 2026-11-23, phone +49 30 123456789012345, v1.2.3-rc.4.";
    let code = "fn secret_access_key(&self) -> &str { &self.aws_secret_access_key } // eyJ prefix, AKIA prefix\n\
        const URL: &str = \"http://localhost:8080/@scope/pkg\"; let service_account = config.service_account;";
    for text in [lock, prose, code] {
        assert!(names(text).is_empty(), "{:?}", names(text));
    }
}

#[test]
fn random_base64_is_left_alone() {
    // A fixed generator, so that a failure is the same on every machine.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes: Vec<u8> = (0..1 << 19)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    let scanner = scanner();
    let text = STANDARD.encode(&bytes);
    assert!(scanner.scan(text.as_bytes(), None).unwrap().is_empty());
    let wrapped: Vec<u8> = text.as_bytes().chunks(76).flat_map(|line| [line, b"\n"].concat()).collect();
    assert!(scanner.scan(&wrapped, None).unwrap().is_empty());
    assert!(scanner.scan(hex::encode(&bytes[..1 << 18]).as_bytes(), None).unwrap().is_empty());
    assert!(scanner.scan(&bytes, None).unwrap().is_empty());
}

#[test]
fn a_passed_deadline_ends_the_scan() {
    assert_eq!(scanner().scan(b"x", Some(Instant::now())), Err(Expired));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = scanner().scan(&bytes, None);
    }

    #[test]
    fn digits_and_escapes_never_panic(text in "[A-Za-z0-9+/=%\\\\u&#;x{} \\n.:@-]{0,2000}") {
        let _ = scanner().scan(text.as_bytes(), None);
    }
}
